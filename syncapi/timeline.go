package syncapi

import (
	"context"
	"slices"
	"sort"

	"hearth/internal/token"
	"hearth/storage"
)

// timeline is the part of a room's timeline that a sync shows.
type timeline struct {
	entries []*entry // oldest first
	limited bool
	prev    token.Gap
	// start is the place of the first event shown or, without any, the end.
	start storage.Place
}

// limit is how many events of each room the client wants.
func (q *request) limit() int {
	if l := q.filter.Room.Timeline.Limit; l != nil {
		return max(0, min(*l, maxTimeline))
	}
	return defaultTimeline
}

// from is the position after which the room's timeline is shown.
func (s *roomShot) from() storage.Position {
	if s.newly || s.expanded {
		return 0
	}
	return s.since
}

// firstAfter is the index of the tail's first event after the position.
func (s *roomShot) firstAfter(p storage.Position) int {
	return sort.Search(len(s.tail), func(i int) bool { return s.tail[i].event.Position > p })
}

// loadTails makes the tails of the rooms reach back far enough, in few queries.
func (q *request) loadTails(ctx context.Context, m *moment) error {
	var short []*room
	limit := 0
	var news []int64
	for _, s := range m.joined {
		if s.latest > s.from() {
			news = append(news, s.room.nid)
		}
		if from := s.from(); s.latest > from && s.tailFrom > from && len(s.tail) <= s.limit {
			short = append(short, s.room)
			limit = max(limit, s.limit)
		}
	}
	if _, err := q.api.rooms.Gaps(ctx, news); err != nil { // all at once, for those that aren't known
		return err
	}
	if len(short) == 0 {
		return nil
	}
	if err := q.api.loadTails(ctx, short, limit+1); err != nil {
		return err
	}
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, s := range m.joined {
		// What was appended since the moment is not part of it.
		end := sort.Search(len(s.room.tail), func(i int) bool { return s.room.tail[i].event.Position > m.token.Position })
		s.tail, s.tailFrom = s.room.tail[:end:end], s.room.tailFrom
	}
	return nil
}

// timeline picks the events of a joined room to show.
func (q *request) timeline(ctx context.Context, m *moment, s *roomShot) (*timeline, error) {
	from, limit := s.from(), s.limit
	candidates := s.tail[s.firstAfter(from):]
	t := &timeline{start: storage.Place{Position: m.token.Position + 1}}
	kept := q.pick(s, candidates, limit)
	if len(kept) < limit && s.tailFrom > from {
		// Filters or hidden events used up the tail: read on in the database.
		older, more, err := q.readOlder(ctx, s, from, limit-len(kept))
		if err != nil {
			return nil, err
		}
		kept = append(older, kept...)
		t.limited = more
	} else {
		t.limited = s.tailFrom > from || q.hasMore(s, candidates, kept)
	}
	// A client that comes to a room knows nothing of what was there before, so it is to
	// begin with what it is given.
	t.limited = t.limited || s.newly && !q.initial
	gap, err := q.gapIn(ctx, m, s)
	if err != nil {
		return nil, err
	}
	if gap != nil {
		t.limited = true
		for len(kept) > 0 && kept[0].event.Place.Before(gap.Place) {
			kept = kept[1:]
		}
	}
	t.entries = kept
	if len(kept) > 0 {
		t.start = kept[0].event.Place
	} else if len(candidates) > 0 && limit == 0 {
		t.limited = true
	}
	t.prev = token.Before(t.start)
	return t, nil
}

// gapIn is the newest gap in what is new to the client, nil for none: its timeline
// begins behind that.
func (q *request) gapIn(ctx context.Context, m *moment, s *roomShot) (*storage.Gap, error) {
	gaps, err := q.api.rooms.Gaps(ctx, []int64{s.room.nid})
	for _, g := range gaps[s.room.nid] {
		if g.Position > s.from() && g.Position <= m.token.Position {
			return &g, err
		}
	}
	return nil, err
}

// pick returns the newest of the candidates that the reader may see and the
// filter lets pass, at most limit.
func (q *request) pick(s *roomShot, candidates []*entry, limit int) []*entry {
	if len(candidates) <= limit && !slices.ContainsFunc(candidates, func(e *entry) bool { return !q.sees(s, e.event) }) {
		return candidates
	}
	kept := make([]*entry, 0, limit)
	for _, e := range slices.Backward(candidates) {
		if len(kept) == limit {
			break
		}
		if q.sees(s, e.event) {
			kept = append(kept, e)
		}
	}
	slices.Reverse(kept)
	return kept
}

// hasMore reports whether visible candidates were left out.
func (q *request) hasMore(s *roomShot, candidates, kept []*entry) bool {
	if len(kept) == 0 || len(candidates) == len(kept) {
		return false
	}
	for _, e := range candidates {
		if e == kept[0] {
			return false
		}
		if q.sees(s, e.event) {
			return true
		}
	}
	return false
}

// maxOlder bounds how many events are looked through for a timeline.
const maxOlder = 2000

// readOlder reads events from before the tail.
func (q *request) readOlder(ctx context.Context, s *roomShot, from storage.Position, want int) (kept []*entry, more bool, err error) {
	before := storage.Place{Position: s.tailFrom + 1}
	for read := 0; read < maxOlder; {
		n := max(want+1, 50)
		events, err := q.api.db.TimelineBefore(ctx, s.room.nid, before, storage.Place{Position: from, Sub: 1 << 30}, n)
		if err != nil {
			return nil, false, err
		}
		for _, e := range events {
			before = e.Place
			if !q.sees(s, e) {
				continue
			}
			if len(kept) == want {
				slices.Reverse(kept)
				return kept, true, nil
			}
			older := newEntry(e, nil, nil)
			older.related.Store(true) // for all that is known here
			kept = append(kept, older)
		}
		read += len(events)
		if len(events) < n {
			slices.Reverse(kept)
			return kept, false, nil
		}
	}
	slices.Reverse(kept)
	return kept, true, nil
}

// replaced lists the pieces of state that the timeline changes, with the events
// that held them at its start, 0 for none.
func (t *timeline) replaced() map[storage.StateTuple]int64 {
	changed := map[storage.StateTuple]int64{}
	for _, e := range slices.Backward(t.entries) {
		if e.event.IsState() {
			changed[storage.StateTuple{Type: e.event.Type, StateKey: *e.event.StateKey}] = e.event.ReplacesNID
		}
	}
	return changed
}
