package roomserver

import (
	"container/heap"
	"context"
	"fmt"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/storage"
)

// References returns the event ids in prev_events or auth_events of an event. In
// the first room versions each stands in a pair with a hash.
func References(e *storage.Event, member string) []string {
	var ids []string
	gjson.GetBytes(e.JSON, member).ForEach(func(_, v gjson.Result) bool {
		if v.IsArray() {
			v = v.Get("0")
		}
		if v.Type == gjson.String {
			ids = append(ids, v.Str)
		}
		return true
	})
	return ids
}

// Walk says how to go back through a room's graph.
type Walk struct {
	// From are the events to begin with; they are returned too unless Exclusive.
	From      []string
	Exclusive bool
	// Stop are events behind which not to go.
	Stop map[string]bool
	// MinDepth leaves out events of less depth.
	MinDepth int64
	Limit    int
}

// Ancestors goes back through the room's graph, the deepest events first, and
// returns what it finds in that order. Events that aren't known are left out.
func (s *Server) Ancestors(ctx context.Context, v *View, w Walk) ([]*storage.Event, error) {
	g := &walker{s: s, room: v.Room.NID, walk: w, known: map[string]*storage.Event{}, seen: map[string]bool{}}
	if err := g.push(ctx, w.From); err != nil {
		return nil, err
	}
	starts := map[string]bool{}
	for _, id := range w.From {
		starts[id] = true
	}
	var found []*storage.Event
	for g.queue.Len() > 0 && len(found) < w.Limit {
		e := heap.Pop(&g.queue).(*storage.Event)
		if !w.Exclusive || !starts[e.ID] {
			if w.Stop[e.ID] || e.Depth < w.MinDepth {
				continue
			}
			found = append(found, e)
		}
		if err := g.push(ctx, References(e, "prev_events")); err != nil {
			return nil, err
		}
	}
	return found, nil
}

type walker struct {
	s     *Server
	room  int64
	walk  Walk
	known map[string]*storage.Event
	seen  map[string]bool
	queue byDepth
}

// push queues events that weren't yet, reading those that aren't known.
func (g *walker) push(ctx context.Context, ids []string) error {
	var missing []string
	for _, id := range ids {
		if !g.seen[id] && g.known[id] == nil {
			missing = append(missing, id)
		}
	}
	if err := g.read(ctx, missing); err != nil {
		return err
	}
	for _, id := range ids {
		if e := g.known[id]; e != nil && !g.seen[id] {
			heap.Push(&g.queue, e)
		}
		g.seen[id] = true
	}
	return nil
}

// read reads events and, since the walk most likely goes there next, what comes
// before them in the timeline.
func (g *walker) read(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	list, err := g.s.db.EventsByID(ctx, ids)
	if err != nil {
		return err
	}
	var last storage.Place
	for _, e := range list {
		if e.RoomNID != g.room || e.Flags&storage.Rejected != 0 {
			continue
		}
		g.known[e.ID] = e
		if last.Before(e.Place) {
			last = e.Place
		}
	}
	if last.Position == 0 {
		return nil
	}
	list, err = g.s.db.TimelineBefore(ctx, g.room, last, storage.Place{}, g.walk.Limit)
	for _, e := range list {
		g.known[e.ID] = e
	}
	return err
}

// byDepth is a heap, the deepest event on top.
type byDepth []*storage.Event

func (q byDepth) Len() int { return len(q) }
func (q byDepth) Less(i, j int) bool {
	if q[i].Depth != q[j].Depth {
		return q[i].Depth > q[j].Depth
	}
	return q[j].Before(q[i].Place)
}
func (q byDepth) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *byDepth) Push(x any)   { *q = append(*q, x.(*storage.Event)) }
func (q *byDepth) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// maxAuthChain bounds the events of an auth chain that are read.
const maxAuthChain = 200_000

// AuthChainOf returns the events that the given ones, and in turn these, name as
// their authority, the given ones left out. Each generation is one query.
func (s *Server) AuthChainOf(ctx context.Context, v *View, events []*storage.Event) ([]*storage.Event, error) {
	seen := map[string]bool{}
	for _, e := range events {
		seen[e.ID] = true
	}
	// From version 12 on nobody names the event that made the room.
	var chain []*storage.Event
	var wanted []string
	if create, ok := v.Entry("m.room.create", ""); ok && !seen[create.EventID] {
		wanted, seen[create.EventID] = append(wanted, create.EventID), true
	}
	for generation := events; len(generation)+len(wanted) > 0; {
		for _, e := range generation {
			for _, id := range References(e, "auth_events") {
				if !seen[id] {
					seen[id] = true
					wanted = append(wanted, id)
				}
			}
		}
		if len(seen) > maxAuthChain {
			return nil, fmt.Errorf("an auth chain of %s has more than %d events", v.Room.ID, maxAuthChain)
		}
		if generation = nil; len(wanted) > 0 {
			list, err := s.db.EventsByID(ctx, wanted)
			if err != nil {
				return nil, err
			}
			generation, wanted = list, nil
			chain = append(chain, list...)
		}
	}
	return chain, nil
}

// RedactedEvent is the event as if it were redacted, though nobody has done that.
func (s *Server) RedactedEvent(v *View, e *storage.Event) (*storage.Event, error) {
	redacted, err := s.Redacted(v, e)
	shown := *e
	shown.JSON = redacted
	return &shown, err
}

// Redacted is the event's JSON as it is shown to who may know of the event but not
// what it says.
func (s *Server) Redacted(v *View, e *storage.Event) ([]byte, error) {
	version, err := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(v.Room.RoomVersion))
	if err != nil {
		return nil, fmt.Errorf("redacting %s: %w", e.ID, err)
	}
	redacted, err := version.RedactEventJSON(e.JSON)
	if err != nil {
		return nil, fmt.Errorf("redacting %s: %w", e.ID, err)
	}
	return redacted, nil
}
