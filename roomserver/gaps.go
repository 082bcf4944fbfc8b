package roomserver

import (
	"context"
	"slices"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/storage"
)

// addGap notes that events are missing before one that was added to the timeline.
func (b *builder) addGap(e *storage.Event, before storage.StateMap, pdu gomatrixserverlib.PDU, known map[string]*storage.Event) error {
	missing := notInTimeline(pdu.PrevEventIDs(), known)
	if len(missing) == 0 {
		return nil
	}
	visibility, err := b.visibilityIn(before)
	if err != nil {
		return err
	}
	b.change.Gaps = append(b.change.Gaps, storage.Gap{
		SnapshotNID: e.SnapshotNID, Visibility: visibility, Missing: missing, Event: len(b.change.Events) - 1})
	return nil
}

// notInTimeline are those of the events that have no place in the timeline.
func notInTimeline(ids []string, known map[string]*storage.Event) (missing []string) {
	for _, id := range ids {
		if e := known[id]; e == nil || e.Flags&storage.Outlier != 0 {
			missing = append(missing, id)
		}
	}
	return missing
}

// visibilityIn is the history visibility in a state, "" for none.
func (b *builder) visibilityIn(state storage.StateMap) (string, error) {
	entry, ok := state.Get(storage.StateTuple{Type: "m.room.history_visibility"})
	if !ok {
		return "", nil
	}
	e, err := b.s.event(b.ctx, entry.EventNID)
	if err != nil {
		return "", err
	}
	return storable(gjson.GetBytes(e.JSON, "content.history_visibility").Str), nil
}

// Gaps returns the gaps of the rooms' timelines, the newest first, with one query at
// the most. What it returns must not be changed.
func (s *Server) Gaps(ctx context.Context, rooms []int64) (map[int64][]storage.Gap, error) {
	found := map[int64][]storage.Gap{}
	var unread []int64
	for _, nid := range rooms {
		if gaps, ok := s.gaps.GetIfPresent(nid); !ok {
			unread = append(unread, nid)
		} else if len(gaps) > 0 {
			found[nid] = gaps
		}
	}
	if len(unread) == 0 {
		return found, nil
	}
	pasts := s.pasts.Load()
	read, err := s.db.Gaps(ctx, unread)
	if err != nil {
		return nil, err
	}
	for _, nid := range unread {
		s.gaps.Set(nid, read[nid])
		if len(read[nid]) > 0 {
			found[nid] = read[nid]
		}
		if s.pasts.Load() != pasts {
			s.gaps.Invalidate(nid)
		}
	}
	return found, nil
}

// GapBefore returns the newest gap of the room's timeline before a place and after the
// floor, nil for none.
func (s *Server) GapBefore(ctx context.Context, v *View, before, floor storage.Place) (*storage.Gap, error) {
	found, err := s.Gaps(ctx, []int64{v.Room.NID})
	for _, g := range found[v.Room.NID] {
		if (g.Place.Before(before) || g.Place == before) && floor.Before(g.Place) {
			return &g, err
		}
	}
	return nil, err
}

// GapAfter returns the oldest gap of the room's timeline after a place and up to the
// ceiling, nil for none.
func (s *Server) GapAfter(ctx context.Context, v *View, after, ceiling storage.Place) (*storage.Gap, error) {
	found, err := s.Gaps(ctx, []int64{v.Room.NID})
	for _, g := range slices.Backward(found[v.Room.NID]) {
		if after.Before(g.Place) && !ceiling.Before(g.Place) {
			return &g, err
		}
	}
	return nil, err
}

// forgetPast drops what is remembered of a room's past, which has changed.
func (s *Server) forgetPast(room int64) {
	s.pasts.Add(1) // before: who is reading looks at it after
	s.gaps.Invalidate(room)
	for key := range s.histories.Keys() {
		if key.room == room {
			s.histories.Invalidate(key)
		}
	}
	for key := range s.servers.visible.Keys() {
		if key.room == room {
			s.servers.visible.Invalidate(key)
		}
	}
}
