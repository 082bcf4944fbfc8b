package roomserver

import (
	"context"

	"hearth/internal/userid"
	"hearth/storage"
)

// View is a room as committed at one moment. It doesn't change.
type View struct {
	Room    storage.Room
	State   storage.StateMap
	Summary storage.RoomSummary
}

// View returns the room's newest committed state, or ErrUnknownRoom.
func (s *Server) View(ctx context.Context, roomID string) (*View, error) {
	rm, err := s.load(ctx, roomID)
	if err != nil {
		return nil, err
	}
	return rm.view.Load(), nil
}

// Membership returns the user's membership of the room, "" for one who never
// had any.
func (v *View) Membership(userID string) string {
	e, _ := v.Entry("m.room.member", userID)
	return e.Membership
}

// Entry returns the event that holds a piece of state, if there is one.
func (v *View) Entry(eventType, stateKey string) (storage.StateEntry, bool) {
	return v.State.Get(storage.StateTuple{Type: eventType, StateKey: stateKey})
}

// JoinedOf returns a server's users who are in the room.
func (v *View) JoinedOf(server string) []string { return joinedOf(v.State, server) }

func joinedOf(state storage.StateMap, server string) (users []string) {
	for it := state.Iterator(); !it.Done(); {
		t, e, _ := it.Next()
		if t.Type == "m.room.member" && e.Membership == "join" && userid.IsLocal(t.StateKey, server) {
			users = append(users, t.StateKey)
		}
	}
	return users
}
