package roomserver

import (
	"context"
	"math"

	"hearth/storage"
)

// StateAfter returns the room's state after an event. One that was soft-failed
// changes it for those that come after it.
func (s *Server) StateAfter(ctx context.Context, e *storage.Event) (storage.StateMap, error) {
	state, err := s.db.StateAt(ctx, e.SnapshotNID)
	if err != nil || !e.IsState() || e.Flags&storage.Rejected != 0 {
		return state, err
	}
	return state.Set(storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}, entryOf(e)), nil
}

// ReadableState returns the state that the user may read: the current one for
// members and where everyone may look in, the one at the time of leaving for who
// has left. It returns nil for somebody who may read none.
func (s *Server) ReadableState(ctx context.Context, v *View, userID string) (storage.StateMap, error) {
	if v.Membership(userID) == "join" {
		return v.State, nil
	}
	vis, err := s.Remembered(ctx, v, userID)
	if err != nil {
		return nil, err
	}
	if vis.MayPeek() {
		return v.State, nil
	}
	left, ok := vis.left()
	if !ok {
		return nil, nil
	}
	events, err := s.db.TimelineAfter(ctx, v.Room.NID, storage.Place{Position: left.Position, Sub: left.Sub - 1}, left, 1)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return s.StateAfter(ctx, events[0])
}

// left is where the user's last stay in the room ended.
func (vis *Visibility) left() (storage.Place, bool) {
	for i := len(vis.memberships) - 1; i > 0; i-- {
		if vis.memberships[i-1].Value == "join" {
			return vis.memberships[i].Place, true
		}
	}
	return storage.Place{}, false
}

// StateAtPosition returns the room's state as of a position of the stream. Of one before all
// that is known of the room it is the first state that is, so that somebody is in it: the
// one that another server told, or that after who made the room has joined it.
func (s *Server) StateAtPosition(ctx context.Context, room int64, p storage.Place) (storage.StateMap, error) {
	events, err := s.db.TimelineBefore(ctx, room, p, storage.Place{}, 1)
	if err != nil {
		return nil, err
	}
	if len(events) > 0 {
		return s.StateAfter(ctx, events[0])
	}
	first, err := s.db.TimelineAfter(ctx, room, storage.Place{}, storage.Place{Position: math.MaxInt64}, 2)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	before, err := s.db.StateAt(ctx, first[0].SnapshotNID)
	if err != nil || before.Len() > 0 {
		return before, err
	}
	return s.StateAfter(ctx, first[len(first)-1])
}
