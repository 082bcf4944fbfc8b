package roomserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hearth/storage"
)

// TestRandomGraphs throws graphs that were made up at random at the engine, with forks,
// bans that race joins, power levels that contradict each other and rejected events in
// them, and compares each judgement and the state before each event with the reference's.
// HEARTH_GRAPHS says how many of each room version, HEARTH_SEED with which seed to begin.
func TestRandomGraphs(t *testing.T) {
	count, size, seed := 1, 20, rand.Uint64()
	if text := os.Getenv("HEARTH_GRAPHS"); text != "" {
		count, _ = strconv.Atoi(text)
		size = 50
	}
	if text := os.Getenv("HEARTH_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	one, two := open(t, dsn(t)), open(t, dsn(t))
	for n := range count {
		for version := 1; version <= 12; version++ {
			randomGraph(one, two, newRandomRoom(t, version, seed+uint64(n)), size)
		}
	}
}

// randomGraph takes one graph in the order in which it was made, and on another server
// in another order: what is rejected, and the state before each event, are the same.
func randomGraph(one, two *Server, r *randomRoom, size int) {
	for range size {
		r.grow()
	}
	r.take(one, r.events[1:])
	r.compare(one, true)
	r.take(two, r.shuffled())
	r.compare(two, false)

	// Who comes after everything sees the same everywhere, whatever the orders were.
	leaves := r.leaves()
	last := &refEvent{typ: "m.room.message", sender: r.users[0], content: map[string]any{}, prev: leaves[:min(len(leaves), maxPrevEvents)]}
	last.auth = r.authFrom(r.stateBefore(last.prev), last)
	r.build(last, 0)
	last.before = r.stateBefore(last.prev)
	last.rejected = !r.byAuthEvents(last) || !r.allowed(last, last.before)
	r.events = append(r.events, last)
	for _, s := range []*Server{one, two} {
		r.take(s, []*refEvent{last})
		r.compare(s, false)
	}
}

// take has a server receive events.
func (r *randomRoom) take(s *Server, events []*refEvent) {
	r.t.Helper()
	if _, err := s.View(r.t.Context(), r.first.RoomID); errors.Is(err, ErrUnknownRoom) {
		if err := s.Import(r.t.Context(), r.first); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, e := range events {
		var refused *RefusedError
		if err := s.Receive(r.t.Context(), r.pdus[e]); err != nil && !errors.As(err, &refused) {
			r.t.Fatalf("%s: %v", r.pdus[e].JSON(), err)
		}
	}
}

// shuffled are the events in another order, each after those that it names.
func (r *randomRoom) shuffled() (order []*refEvent) {
	left := slices.Clone(r.events[1:])
	r.rand.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	for len(left) > 0 {
		left = slices.DeleteFunc(left, func(e *refEvent) bool {
			waits := slices.ContainsFunc(slices.Concat(e.prev, e.auth), func(p *refEvent) bool { return slices.Contains(left, p) })
			if !waits && !slices.Contains(order, e) && r.rand.IntN(2) == 0 {
				order = append(order, e)
				return true
			}
			return false
		})
	}
	return order
}

// leaves are the events that no other comes after.
func (r *randomRoom) leaves() []*refEvent {
	return slices.DeleteFunc(slices.Clone(r.events), func(e *refEvent) bool {
		return slices.ContainsFunc(r.events, func(later *refEvent) bool { return slices.Contains(later.prev, e) })
	})
}

// compare has the server's judgements and states be the reference's; what is soft-failed,
// and with it the room's newest state, depends on the order in which events came.
func (r *randomRoom) compare(s *Server, sameOrder bool) {
	r.t.Helper()
	for _, e := range r.events[1:] {
		list, err := s.db.EventsByID(r.t.Context(), []string{e.id})
		if err != nil || len(list) != 1 {
			r.t.Fatalf("%s isn't stored: %v", r.pdus[e].JSON(), err)
		}
		flags := list[0].Flags
		if rejected := flags&storage.Rejected != 0; rejected != e.rejected {
			r.differ("%s: rejected is %v", e.short(), rejected)
		}
		if failed := flags&storage.SoftFailed != 0; sameOrder && failed != e.softFailed {
			r.differ("%s: soft-failed is %v", e.short(), failed)
		}
		before, err := s.db.StateAt(r.t.Context(), list[0].SnapshotNID)
		if err != nil {
			r.t.Fatal(err)
		}
		r.sameState("before "+e.short(), before, e.before)
	}
	if sameOrder {
		v, err := s.View(r.t.Context(), r.first.RoomID)
		if err != nil {
			r.t.Fatal(err)
		}
		r.sameState("now", v.State, r.stateBefore(r.ends))
		sameStateEverywhere(r.t, s, r.first.RoomID)
	}
}

func (r *randomRoom) sameState(when string, got storage.StateMap, want refState) {
	r.t.Helper()
	for t, e := range want {
		entry, _ := got.Get(storage.StateTuple{Type: t.typ, StateKey: t.key})
		if entry.EventID != e.id {
			r.differ("%s: %v is %.6s, not %s", when, t, entry.EventID, e.short())
		}
	}
	if got.Len() != len(want) {
		r.differ("%s: the state has %d entries, not %d", when, got.Len(), len(want))
	}
}

func (e *refEvent) short() string { return e.id[:6] }

// differ fails with the whole graph: what is different is seldom the reason.
func (r *randomRoom) differ(format string, args ...any) {
	r.t.Helper()
	var graph strings.Builder
	names := func(list []*refEvent) (names []string) {
		for _, e := range list {
			names = append(names, e.short())
		}
		return names
	}
	for _, e := range r.events {
		key := "-"
		if e.key != nil {
			key = *e.key
		}
		fmt.Fprintf(&graph, "%s %d %s %s %q %v after %v by %v rejected %v soft-failed %v\n", e.short(), e.ts%1000, e.sender, e.typ, key, e.content,
			names(e.prev), names(e.auth), e.rejected, e.softFailed)
	}
	r.t.Fatalf("room version %d, HEARTH_SEED=%d: %s\n%s", r.version, r.seed, fmt.Sprintf(format, args...), &graph)
}
