package roomserver

import (
	"context"
	"fmt"
	"slices"

	"hearth/storage"
)

// EventList returns those of the events that exist, in the order of nids. In a big
// room nearly all are in memory, so that a list is what costs least.
func (s *Server) EventList(ctx context.Context, nids []int64) ([]*storage.Event, error) {
	list := make([]*storage.Event, len(nids))
	var missing []int64
	for i, nid := range nids {
		e, ok := s.events.GetIfPresent(nid)
		if list[i] = e; !ok {
			missing = append(missing, nid)
		}
	}
	if len(missing) == 0 {
		return list, nil
	}
	read, err := s.Events(ctx, missing)
	if err != nil {
		return nil, err
	}
	for i, nid := range nids {
		if list[i] == nil {
			list[i] = read[nid]
		}
	}
	return slices.DeleteFunc(list, func(e *storage.Event) bool { return e == nil }), nil
}

// Events returns the events with the given numbers, from memory where it can.
// Numbers that aren't known are left out.
func (s *Server) Events(ctx context.Context, nids []int64) (map[int64]*storage.Event, error) {
	found := make(map[int64]*storage.Event, len(nids))
	var missing []int64
	for _, nid := range nids {
		if e, ok := s.events.GetIfPresent(nid); ok {
			found[nid] = e
		} else {
			missing = append(missing, nid)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	list, err := s.db.EventsByNID(ctx, missing)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		// Not over what is there: it may have been redacted since this was read.
		s.events.SetIfAbsent(e.NID, e)
		found[e.NID] = e
	}
	return found, nil
}

// event returns one event that must exist.
func (s *Server) event(ctx context.Context, nid int64) (*storage.Event, error) {
	found, err := s.Events(ctx, []int64{nid})
	if err != nil {
		return nil, err
	}
	e := found[nid]
	if e == nil {
		return nil, fmt.Errorf("event number %d is in a room's state but not stored", nid)
	}
	return e, nil
}

// EventByID returns a committed event of the room, or storage.ErrNotFound.
func (s *Server) EventByID(ctx context.Context, roomID, eventID string) (*storage.Event, error) {
	list, err := s.db.EventsByID(ctx, []string{eventID})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[0].RoomID != roomID {
		return nil, storage.ErrNotFound
	}
	return list[0], nil
}

// StateEvent returns the event that holds a piece of the room's state, nil if
// none does.
func (s *Server) StateEvent(ctx context.Context, v *View, eventType, stateKey string) (*storage.Event, error) {
	entry, ok := v.Entry(eventType, stateKey)
	if !ok {
		return nil, nil
	}
	return s.event(ctx, entry.EventNID)
}
