package roomserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// redactionTarget is the event that a redaction redacts: nil if it isn't known here, but
// may be elsewhere.
type redactionTarget struct {
	id    string
	event *storage.Event
}

// redactionTarget finds the event that the request redacts; clients may name it
// beside or within the content.
//
// https://spec.matrix.org/v1.19/client-server-api/#redactions
func (s *Server) redactionTarget(ctx context.Context, r *EventRequest) (*redactionTarget, error) {
	id := r.Redacts
	if id == "" {
		id = gjson.GetBytes(r.Content, "redacts").Str
	}
	if id == "" {
		return nil, httpapi.BadJSON("A redaction must name the event that it redacts")
	}
	if !mayBeID(id) {
		return nil, noTarget()
	}
	e, err := s.EventByID(ctx, r.RoomID, id)
	if errors.Is(err, storage.ErrNotFound) {
		return &redactionTarget{id: id}, nil
	}
	if err != nil {
		return nil, err
	}
	return &redactionTarget{e.ID, e}, nil
}

func noTarget() error { return httpapi.NotFound("The event to redact isn't in the room") }

// maxID bounds event ids, in bytes.
const maxID = 255

// mayBeID reports whether the text may be the id of an event.
func mayBeID(id string) bool {
	return len(id) > 1 && len(id) <= maxID && id[0] == '$' && httpapi.IsText(id)
}

// addTo names the target where the room version wants it.
func (t *redactionTarget) addTo(v gomatrixserverlib.IRoomVersion, n *newEvent) error {
	if !redactsInContent(v) {
		n.Redacts = t.id
		return nil
	}
	content, err := sjson.SetBytes(n.Content, "redacts", t.id)
	if err != nil {
		return fmt.Errorf("naming a redaction's target: %w", err)
	}
	n.Content = content
	return nil
}

// redactsInContent reports whether the version keeps redacts in the content:
// from 11 on.
//
// https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
func redactsInContent(v gomatrixserverlib.IRoomVersion) bool {
	return versionNumber(v) >= 11
}

// mayRedact: one's own events, or with the power to redact any, with which also what only
// other servers know of. Users of one server answer for one another, where that isn't this
// one. What made the room can't be redacted: all else rests on it.
func (b *builder) mayRedact(sender string, t *redactionTarget) error {
	p := b.powerLevels()
	if t.event == nil {
		if p.Of(sender) < p.Action("redact") {
			return noTarget()
		}
		return nil
	}
	if t.event.Type == "m.room.create" {
		return httpapi.Forbidden("The event that made the room can't be redacted")
	}
	domain := userid.Domain(sender)
	if domain != b.s.o.ServerName && userid.Domain(t.event.Sender) == domain {
		return nil
	}
	if t.event.Sender == sender || p.Of(sender) >= p.Action("redact") {
		return nil
	}
	return httpapi.Forbidden("You may not redact events of others in this room")
}

// redact replaces the target's stored form: nothing of what was redacted stays.
func (b *builder) redact(target, by *storage.Event) error {
	if target.RedactedBy != "" {
		return nil
	}
	redacted, err := redactedForm(b.rm.version, target, by.ID)
	if err != nil {
		return err
	}
	b.change.Redactions = append(b.change.Redactions, redacted)
	if !target.IsState() {
		return nil
	}
	tuple := storage.StateTuple{Type: target.Type, StateKey: *target.StateKey}
	if current, _ := b.head.state.Get(tuple); current.EventNID != target.NID {
		return nil
	}
	pdu, err := pduOf(b.rm.version, redacted)
	if err != nil {
		return err
	}
	b.pdus[target.NID] = pduRef{tuple, pdu}
	b.rm.rules = nil // they may rest on what was redacted
	b.summarise(redacted, "", "")
	return nil
}
