package roomserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// EventRequest is a local user's wish to send an event.
type EventRequest struct {
	RoomID, Sender, Type string
	// StateKey makes it a state event.
	StateKey *string
	// Content must be a JSON object.
	Content json.RawMessage
	// Redacts names the event that an m.room.redaction redacts; in rooms of version
	// 11 and later it goes into the content.
	Redacts string
	// DeviceID and TxnID make a repeated request return the first one's event.
	// Endpoint keeps the ids of different endpoints apart.
	DeviceID, TxnID, Endpoint string
	// OriginTS, if not 0, is the event's time in milliseconds since 1970.
	OriginTS int64
	// StickyMS, if not nil, makes it a sticky event for as many milliseconds.
	StickyMS *int64
}

// DelayedDevice stands in EventRequest for the device of events that were scheduled
// before; the transaction's id is the delay's.
const DelayedDevice = "org.matrix.msc4140 delayed event"

// maxIDBytes bounds event types, state keys and transaction ids.
const maxIDBytes = 255

// Send builds an event, authorises it against the room's state, and returns its
// id once it is stored. Errors are *httpapi.Error: M_FORBIDDEN if the sender
// isn't in the room or lacks the power, M_TOO_LARGE, M_BAD_JSON, M_NOT_FOUND if a
// redaction's target isn't there and the sender may not redact whatever it is. A state event that says what the state says
// already returns the one that is there. Memberships are changed by SetMembership alone.
func (s *Server) Send(ctx context.Context, r EventRequest) (string, error) {
	if err := r.Check(); err != nil {
		return "", err
	}
	if r.Type == "m.room.member" && r.StateKey != nil {
		return "", httpapi.InvalidParam("A membership isn't changed this way")
	}
	key := r.txnKey()
	var redaction *redactionTarget
	if r.Type == "m.room.redaction" {
		var err error
		if redaction, err = s.redactionTarget(ctx, &r); err != nil {
			return "", err
		}
	}
	if err := s.mayBeThread(ctx, &r); err != nil {
		return "", err
	}
	if id, err := s.annotated(ctx, &r, key); id != "" || err != nil {
		return id, err
	}
	var eventID string
	var waitFor *txn
	err := s.change(ctx, r.RoomID, func(b *builder) error {
		eventID, waitFor = "", nil
		if r.TxnID != "" {
			if waitFor = b.rm.txns.ids[key]; waitFor != nil {
				return nil
			}
		}
		if eventID = b.unchanged(r); eventID != "" {
			return nil
		}
		e, err := b.send(r, key, redaction)
		if err == nil {
			eventID = e.ID
		}
		return err
	})
	if waitFor != nil {
		return s.awaitTxn(ctx, waitFor)
	}
	return eventID, s.sendError(err, &r, &eventID)
}

// sendError turns what change returns into the client's answer.
func (s *Server) sendError(err error, r *EventRequest, eventID *string) error {
	var repeated *storage.DuplicateTxnError
	if errors.As(err, &repeated) {
		*eventID = repeated.EventID
		return nil
	}
	if errors.Is(err, ErrUnknownRoom) {
		return notInRoom(r.Sender)
	}
	return err
}

// notInRoom is the same answer whether there is such a room or not.
func notInRoom(userID string) error { return httpapi.Forbidden("%s isn't in the room", userID) }

// awaitTxn answers a repeated request with the first one's event, once that is
// stored.
func (s *Server) awaitTxn(ctx context.Context, t *txn) (string, error) {
	if err := t.outcome.Wait(ctx); err != nil {
		return "", httpapi.Unavailable(time.Second, "The first request with this transaction id failed; try again")
	}
	return t.eventID, nil
}

// Check refuses what can be sent in no room.
func (r *EventRequest) Check() error {
	if !gjson.ParseBytes(r.Content).IsObject() {
		return httpapi.BadJSON("The content of an event must be an object")
	}
	ids := []struct{ what, value string }{{"type", r.Type}, {"transaction id", r.TxnID}}
	if r.StateKey != nil {
		ids = append(ids, struct{ what, value string }{"state key", *r.StateKey})
	}
	for _, id := range ids {
		if len(id.value) > maxIDBytes {
			return httpapi.New(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "The %s is longer than %d bytes", id.what, maxIDBytes)
		}
		if !utf8.ValidString(id.value) || strings.ContainsRune(id.value, 0) {
			return httpapi.InvalidParam("The %s isn't valid text", id.what)
		}
	}
	if r.Type == "" {
		return httpapi.InvalidParam("An event needs a type")
	}
	if r.StickyMS != nil && (*r.StickyMS < 0 || *r.StickyMS > maxStickyMS) {
		return httpapi.InvalidParam("An event is sticky for between 0 and %d milliseconds", maxStickyMS)
	}
	if r.Type == "m.room.member" && r.StateKey != nil {
		return checkMembership(gjson.GetBytes(r.Content, "membership").Str)
	}
	return nil
}

// txnKey is what makes a transaction unique: the device and the endpoint with its
// parameters.
//
// https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
func (r *EventRequest) txnKey() (key [16]byte) {
	h := sha256.New()
	for _, part := range []string{r.Sender, r.DeviceID, r.Endpoint, r.RoomID, r.Type, r.Redacts, r.TxnID} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	copy(key[:], h.Sum(nil))
	return key
}

// unchanged returns the id of the current state event if the request says just
// the same, so that clients that set state again and again add nothing.
func (b *builder) unchanged(r EventRequest) string {
	if r.StateKey == nil || r.StickyMS != nil {
		return ""
	}
	pdu, err := b.statePDU(storage.StateTuple{Type: r.Type, StateKey: *r.StateKey})
	if err != nil || pdu == nil || string(pdu.SenderID()) != r.Sender {
		return ""
	}
	content, err := gomatrixserverlib.CanonicalJSON(r.Content)
	if err != nil || !bytes.Equal(content, pdu.Content()) {
		return ""
	}
	return pdu.EventID()
}

// send adds the event the request asks for.
func (b *builder) send(r EventRequest, key [16]byte, redaction *redactionTarget) (*storage.Event, error) {
	n := newEvent{Sender: r.Sender, Type: r.Type, StateKey: r.StateKey, Content: r.Content, StickyMS: r.StickyMS}
	if r.TxnID != "" {
		n.TxnKey, n.TxnID, n.DeviceID = key, r.TxnID, r.DeviceID
	}
	if r.OriginTS != 0 {
		n.TS = time.UnixMilli(r.OriginTS)
	}
	if redaction == nil {
		return b.add(n)
	}
	// Whoever isn't in the room doesn't learn from the answer what is.
	if member, _ := b.head.state.Get(storage.StateTuple{Type: "m.room.member", StateKey: r.Sender}); member.Membership != "join" {
		return nil, notInRoom(r.Sender)
	}
	if err := b.mayRedact(r.Sender, redaction); err != nil {
		return nil, err
	}
	if err := redaction.addTo(b.rm.version, &n); err != nil {
		return nil, err
	}
	e, err := b.add(n)
	if err != nil {
		return nil, err
	}
	if redaction.event == nil {
		return e, b.carryOut(e)
	}
	return e, b.redact(redaction.event, e)
}
