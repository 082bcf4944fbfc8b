package roomserver

import (
	"math/rand/v2"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
)

// TestFirstResolution compares the reference's resolution of states of room version 1, to
// which TestRandomGraphs holds the engine, with the library's.
func TestFirstResolution(t *testing.T) {
	r := newRandomRoom(t, 1, rand.Uint64())
	for range 60 {
		r.grow()
	}
	for range 200 {
		var sets []refState
		for range 2 + r.rand.IntN(2) {
			set := pick(r.rand, r.events...).after()
			// The library lets members change their name whatever the join rule is.
			if rule := r.joinRule(set); rule == "public" || rule == "invite" {
				sets = append(sets, set)
			}
		}
		if len(sets) == 0 {
			continue
		}
		got, want := r.resolve(sets), r.resolveByLibrary(sets)
		for k := range got {
			// The library takes what an invitation by address rests on in a row too, and lets
			// those who have left leave: the page doesn't.
			leaves := map[*refEvent]bool{}
			for _, set := range sets {
				if e := set[k]; e != nil && e.str("membership") == "leave" {
					leaves[e] = true
				}
			}
			if got[k] != want[k] && k.typ != "m.room.third_party_invite" && len(leaves) < 2 {
				r.differ("%v is %s, not %s", k, got[k].short(), want[k].short())
			}
		}
		if len(got) != len(want) {
			r.differ("%d pieces of state, not %d", len(got), len(want))
		}
	}
}

func (r *randomRoom) resolveByLibrary(sets []refState) refState {
	byID := map[string]*refEvent{}
	tuples := map[tuple]map[string]bool{}
	for _, set := range sets {
		for k, e := range set {
			byID[e.id] = e
			if tuples[k] == nil {
				tuples[k] = map[string]bool{}
			}
			tuples[k][e.id] = true
		}
	}
	state := refState{}
	var conflicted, agreed []gomatrixserverlib.PDU
	for k, ids := range tuples {
		for id := range ids {
			if len(ids) > 1 {
				conflicted = append(conflicted, r.pdus[byID[id]])
				continue
			}
			state[k] = byID[id]
			agreed = append(agreed, r.pdus[byID[id]])
		}
	}
	for _, pdu := range gomatrixserverlib.ResolveStateConflicts(conflicted, agreed, userIDForSender) {
		e := byID[pdu.EventID()]
		state[e.tuple()] = e
	}
	return state
}
