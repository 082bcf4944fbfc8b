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
		if len(sets) == 0 || libraryDiffers(sets) {
			continue
		}
		got, want := r.resolve(sets), r.resolveByLibrary(sets)
		for k := range got {
			if got[k] != want[k] {
				r.differ("%v is %s, not %s", k, got[k].short(), want[k].short())
			}
		}
		if len(got) != len(want) {
			r.differ("%d pieces of state, not %d", len(got), len(want))
		}
	}
}

// libraryDiffers reports whether the states disagree on what the library decides by other
// rules than the page has, and by that on more: it takes what an invitation by address
// rests on in a row too, and lets those who have left leave.
func libraryDiffers(sets []refState) bool {
	invitations, leaves := map[tuple]*refEvent{}, map[tuple]*refEvent{}
	for _, set := range sets {
		for k, e := range set {
			switch {
			case k.typ == "m.room.third_party_invite":
				if other := invitations[k]; other != nil && other != e {
					return true
				}
				invitations[k] = e
			case k.typ == "m.room.member" && e.str("membership") == "leave":
				if other := leaves[k]; other != nil && other != e {
					return true
				}
				leaves[k] = e
			}
		}
	}
	return false
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
