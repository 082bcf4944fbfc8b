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
	unconflicted, conflicted := separate(sets)
	events, err := b.conflictedEvents(conflicted)
	if err != nil {
		return nil, err
	}
	if b.rm.version.StateResAlgorithm() == gomatrixserverlib.StateResV1 {
		return b.resolveFirst(unconflicted, events)
	}
	state, err := b.newResolver(unconflicted, conflicted, events).resolve()
	if err != nil {
		return nil, fmt.Errorf("resolving the state of %s: %w", b.head.row.ID, err)
	}
	return state, nil
}

// conflictedEvents reads what the states don't agree on.
func (b *builder) conflictedEvents(conflicted []map[int64]bool) (map[int64]*storage.Event, error) {
	seen := map[int64]bool{}
	var nids []int64
	for _, set := range conflicted {
		for nid := range set {
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

func tupleOf(e *storage.Event) storage.StateTuple {
	return storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}
}

// separate returns what all the states agree on, and the numbers of each one's other
// events.
func separate(sets []storage.StateMap) (unconflicted storage.StateMap, conflicted []map[int64]bool) {
	unconflicted = sets[0]
	conflicted = make([]map[int64]bool, len(sets))
	for i := range sets {
		conflicted[i] = map[int64]bool{}
	}
	for i, set := range sets {
		for it := set.Iterator(); !it.Done(); {
			t, entry, _ := it.Next()
			if agree(sets, t, entry.EventNID) {
				continue
			}
			conflicted[i][entry.EventNID] = true
			if i == 0 {
				unconflicted = unconflicted.Delete(t)
			}
		}
	}
	return unconflicted, conflicted
}

func agree(sets []storage.StateMap, t storage.StateTuple, nid int64) bool {
	for _, set := range sets {
		if entry, ok := set.Get(t); !ok || entry.EventNID != nid {
			return false
		}
	}
	return true
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
