package roomserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// This file is where Hearth meets the library's events.

// userIDForSender says who a sender is: in every room version but the
// experimental pseudonymous ones a sender is a user id.
func userIDForSender(_ spec.RoomID, sender spec.SenderID) (*spec.UserID, error) {
	return spec.NewUserID(string(sender), true)
}

// pduOf parses a stored event.
func pduOf(v gomatrixserverlib.IRoomVersion, e *storage.Event) (gomatrixserverlib.PDU, error) {
	pdu, err := v.NewEventFromTrustedJSONWithEventID(e.ID, e.JSON, e.RedactedBy != "")
	if err != nil {
		return nil, fmt.Errorf("parsing stored event %s: %w", e.ID, err)
	}
	return pdu, nil
}

// buildPDU builds, hashes and signs an event.
func (s *Server) buildPDU(v gomatrixserverlib.IRoomVersion, p *gomatrixserverlib.ProtoEvent, at time.Time) (gomatrixserverlib.PDU, error) {
	b := v.NewEventBuilderFromProtoEvent(p)
	pdu, err := b.Build(at, spec.ServerName(s.o.ServerName), gomatrixserverlib.KeyID(s.o.KeyID), s.o.PrivateKey)
	if err != nil {
		return nil, buildError(err)
	}
	return pdu, nil
}

// buildError is the Matrix error for an event that the library wouldn't build.
func buildError(err error) error {
	invalid := validationError(err)
	if invalid != nil && invalid.Code == gomatrixserverlib.EventValidationTooLarge {
		return httpapi.New(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "%s", clean(invalid.Message))
	}
	var badJSON gomatrixserverlib.BadJSONError
	if errors.As(err, &badJSON) {
		return httpapi.BadJSON("The event isn't canonical JSON: %s", clean(badJSON.Error()))
	}
	var syntax *json.SyntaxError
	if invalid != nil || errors.As(err, &syntax) {
		return httpapi.BadJSON("The event is invalid: %s", clean(err.Error()))
	}
	return fmt.Errorf("building an event: %w", err)
}

// validationError is the library's in the error's chain, nil if there is none. It returns
// it as a value when it builds an event, and as a pointer when it authorises one.
func validationError(err error) *gomatrixserverlib.EventValidationError {
	var value gomatrixserverlib.EventValidationError
	if errors.As(err, &value) {
		return &value
	}
	var pointer *gomatrixserverlib.EventValidationError
	errors.As(err, &pointer)
	return pointer
}

// notAllowed is the Matrix error for an event that the room's state refuses.
func notAllowed(err error) error {
	var refused *gomatrixserverlib.NotAllowed
	if errors.As(err, &refused) && strings.Contains(refused.Message, "unparseable") {
		return httpapi.BadJSON("%s", clean(refused.Message))
	}
	if invalid := validationError(err); invalid != nil && invalid.Code == http.StatusBadRequest {
		return httpapi.BadJSON("%s", clean(invalid.Message))
	}
	if errors.As(err, &refused) {
		return httpapi.Forbidden("%s", clean(refused.Message))
	}
	return httpapi.Forbidden("%s", clean(err.Error()))
}

func clean(msg string) string {
	return strings.TrimPrefix(strings.TrimPrefix(msg, "gomatrixserverlib: "), "eventauth: ")
}

// fromPDU makes the stored form of an event that was built here or has just come.
func fromPDU(pdu gomatrixserverlib.PDU) *storage.Event {
	return &storage.Event{
		StickyUntil: stickyUntil(pdu.JSON(), int64(pdu.OriginServerTS())),

		RoomID:   pdu.RoomID().String(),
		ID:       pdu.EventID(),
		Type:     pdu.Type(),
		StateKey: pdu.StateKey(),
		Sender:   string(pdu.SenderID()),
		OriginTS: int64(pdu.OriginServerTS()),
		Depth:    pdu.Depth(),
		JSON:     pdu.JSON(),
	}
}
