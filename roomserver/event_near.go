package roomserver

import (
	"context"
	"slices"

	"hearth/storage"
)

// nearWindow is how many events before and after the place that fits best are looked
// at: clocks of servers differ, so times aren't quite in the timeline's order.
const nearWindow = 100

// EventNear returns the event whose time is closest to ts, at it or after it if
// forward, else at it or before it, among those that visible accepts. It returns nil
// for none. The place is found by bisecting the timeline, a row for each step:
// events aren't indexed by time, which would cost more at every send.
func (s *Server) EventNear(ctx context.Context, v *View, ts int64, forward bool, visible func(*storage.Event) bool) (*storage.Event, error) {
	room, end := v.Room.NID, storage.Place{Position: v.Room.LatestPosition, Sub: 1<<31 - 1}
	low, high := storage.Position(0), v.Room.LatestPosition
	for low < high {
		middle := low + (high-low)/2
		next, err := s.db.TimelineAfter(ctx, room, storage.Place{Position: middle, Sub: 1<<31 - 1}, end, 1)
		if err != nil {
			return nil, err
		}
		if len(next) == 0 || next[0].OriginTS >= ts {
			high = middle
		} else {
			low = next[0].Position
		}
	}
	from, err := s.subNear(ctx, room, low, ts)
	if err != nil {
		return nil, err
	}
	near, err := s.db.TimelineBefore(ctx, room, storage.Place{Position: from.Position, Sub: from.Sub + 1}, storage.Place{}, nearWindow)
	if err != nil {
		return nil, err
	}
	after, err := s.db.TimelineAfter(ctx, room, from, end, nearWindow)
	if err != nil {
		return nil, err
	}
	slices.Reverse(near)
	var best *storage.Event
	for _, e := range append(near, after...) { // oldest first
		switch {
		case forward && e.OriginTS >= ts && (best == nil || e.OriginTS < best.OriginTS) && visible(e),
			!forward && e.OriginTS <= ts && (best == nil || e.OriginTS >= best.OriginTS) && visible(e):
			best = e
		}
	}
	return best, nil
}

// subNear is the last place of a position whose event is from before ts, or the place
// before them all: what was backfilled before an event shares its position.
func (s *Server) subNear(ctx context.Context, room int64, position storage.Position, ts int64) (storage.Place, error) {
	end := storage.Place{Position: position, Sub: 1<<31 - 2}
	first, err := s.db.TimelineAfter(ctx, room, storage.Place{Position: position - 1, Sub: 1<<31 - 1}, end, 1)
	if err != nil || len(first) == 0 || first[0].Sub == 0 {
		return end, err
	}
	low, high := first[0].Sub-1, int32(0)
	for low < high {
		middle := low + (high-low)/2
		next, err := s.db.TimelineAfter(ctx, room, storage.Place{Position: position, Sub: middle}, end, 1)
		if err != nil {
			return end, err
		}
		if len(next) == 0 || next[0].OriginTS >= ts {
			high = middle
		} else {
			low = next[0].Sub
		}
	}
	return storage.Place{Position: position, Sub: low}, nil
}
