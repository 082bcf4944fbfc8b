package roomserver

import (
	"fmt"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/storage"
)

// resolve makes one state of several, by the algorithm of the room's version.
//
// https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
func (b *builder) resolve(sets []storage.StateMap) (storage.StateMap, error) {
	sets = distinct(sets)
	if len(sets) == 1 {
		return sets[0], nil
	}
	events, err := b.eventsOf(sets)
	if err != nil {
		return nil, err
	}
	pdus := make(map[int64]gomatrixserverlib.PDU, len(events))
	var all []*storage.Event
	for nid, e := range events {
		if pdus[nid], err = pduOf(b.rm.version, e); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	auth, rejected, err := b.authOf(all)
	if err != nil {
		return nil, err
	}
	lists := make([][]gomatrixserverlib.PDU, len(sets))
	for i, set := range sets {
		for it := set.Iterator(); !it.Done(); {
			_, entry, _ := it.Next()
			lists[i] = append(lists[i], pdus[entry.EventNID])
		}
	}
	resolved, err := gomatrixserverlib.ResolveConflictsNew(b.rm.version.Version(), lists, auth, userIDForSender,
		func(id string) bool { return rejected[id] })
	if err != nil {
		return nil, fmt.Errorf("resolving the state of %s: %w", b.head.row.ID, err)
	}
	byID := make(map[string]*storage.Event, len(all))
	for _, e := range all {
		byID[e.ID] = e
	}
	state := storage.NewStateMapBuilder()
	for _, pdu := range resolved {
		e := byID[pdu.EventID()]
		if e == nil {
			return nil, fmt.Errorf("resolving the state of %s: %s came of it, which is in none of the states", b.head.row.ID, pdu.EventID())
		}
		state.Set(storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}, entryOf(e))
	}
	return state.Map(), nil
}

// distinct leaves out states that are equal to others.
func distinct(sets []storage.StateMap) (list []storage.StateMap) {
	for _, set := range sets {
		same := false
		for _, other := range list {
			same = same || equal(set, other)
		}
		if !same {
			list = append(list, set)
		}
	}
	return list
}

func equal(a, b storage.StateMap) bool {
	if a == b {
		return true
	}
	if a.Len() != b.Len() {
		return false
	}
	for it := a.Iterator(); !it.Done(); {
		t, entry, _ := it.Next()
		if other, ok := b.Get(t); !ok || other.EventNID != entry.EventNID {
			return false
		}
	}
	return true
}

// eventsOf reads every event of the states, by number.
func (b *builder) eventsOf(sets []storage.StateMap) (map[int64]*storage.Event, error) {
	seen := map[int64]bool{}
	var nids []int64
	for _, set := range sets {
		for _, nid := range nidsOf(set) {
			if !seen[nid] {
				seen[nid] = true
				nids = append(nids, nid)
			}
		}
	}
	events, err := b.s.Events(b.ctx, nids)
	if err == nil && len(events) != len(nids) {
		err = fmt.Errorf("%d events of a state aren't stored", len(nids)-len(events))
	}
	return events, err
}

// authOf are the events themselves and all that authorise them, and which of these
// were rejected.
func (b *builder) authOf(events []*storage.Event) (auth []gomatrixserverlib.PDU, rejected map[string]bool, err error) {
	chain, err := b.s.AuthChainOf(b.ctx, b.rm.view.Load(), events)
	if err != nil {
		return nil, nil, err
	}
	rejected = map[string]bool{}
	for _, list := range [][]*storage.Event{chain, events} {
		for _, e := range list {
			pdu, err := pduOf(b.rm.version, e)
			if err != nil {
				return nil, nil, err
			}
			auth = append(auth, pdu)
			if e.Flags&storage.Rejected != 0 {
				rejected[e.ID] = true
			}
		}
	}
	return auth, rejected, nil
}
