package roomserver

import (
	"context"

	"hearth/internal/userid"
)

// maxEnds is how many ends a room may have before they are joined, without waiting for
// somebody to say something.
const maxEnds = 10

// mergeEnds joins the room's ends, if they are many, by an event that says nothing. It
// takes a user of this server who may send it; in a room without one the ends stay.
func (s *Server) mergeEnds(ctx context.Context, roomID string) {
	v, err := s.View(ctx, roomID)
	if err != nil || len(v.Room.ForwardExtremities) <= maxEnds {
		return
	}
	err = s.change(ctx, roomID, func(b *builder) error {
		sender := b.anySender("org.matrix.dummy_event")
		if sender == "" || len(b.head.row.ForwardExtremities) <= maxEnds {
			return nil
		}
		_, err := b.add(newEvent{Sender: sender, Type: "org.matrix.dummy_event", Content: []byte("{}")})
		return err
	})
	if err != nil {
		s.log.Info("the ends of a room can't be joined", "room", roomID, "err", err)
	}
}

// anySender is a user of this server who may send events of a type, "" for none.
func (b *builder) anySender(eventType string) string {
	rules, err := b.rules()
	if err != nil {
		return ""
	}
	required, ok := rules.events[eventType]
	if !ok {
		required = rules.eventsDefault
	}
	for it := b.head.state.Iterator(); !it.Done(); {
		t, e, _ := it.Next()
		if t.Type == "m.room.member" && e.Membership == "join" && userid.Domain(t.StateKey) == b.s.o.ServerName && rules.of(t.StateKey) >= required {
			return t.StateKey
		}
	}
	return ""
}
