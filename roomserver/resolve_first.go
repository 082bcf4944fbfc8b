package roomserver

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"errors"
	"slices"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// firstResolver resolves states by the algorithm of the first version of rooms: each piece
// that they disagree on by itself, the deeper event if the rules allow it.
//
// https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
type firstResolver struct {
	b *builder
	// state is what was resolved so far.
	state storage.StateMap
	// conflicts are the events that are still to be chosen from.
	conflicts map[storage.StateTuple][]*candidate
}

// candidate is one of several events that would be the same piece of state.
type candidate struct {
	*storage.Event
	pdu gomatrixserverlib.PDU
	sum [sha1.Size]byte
}

func (b *builder) resolveFirst(unconflicted storage.StateMap, events map[int64]*storage.Event) (storage.StateMap, error) {
	r := &firstResolver{b: b, state: unconflicted, conflicts: map[storage.StateTuple][]*candidate{}}
	if err := r.sort(events); err != nil {
		return nil, err
	}
	for _, eventType := range []string{"m.room.power_levels", "m.room.join_rules", "m.room.member"} {
		if err := r.chooseAll(func(t storage.StateTuple) bool { return t.Type == eventType }, r.lastInRow); err != nil {
			return nil, err
		}
	}
	err := r.chooseAll(func(storage.StateTuple) bool { return true }, r.deepestAllowed)
	return r.state, err
}

// sort finds what the states disagree on; that one of them lacks something is no conflict.
func (r *firstResolver) sort(events map[int64]*storage.Event) error {
	for _, e := range events {
		pdu, err := pduOf(r.b.rm.version, e)
		if err != nil {
			return err
		}
		r.conflicts[tupleOf(e)] = append(r.conflicts[tupleOf(e)], &candidate{e, pdu, sha1.Sum([]byte(e.ID))})
	}
	for t, list := range r.conflicts {
		if len(list) == 1 {
			r.state = r.state.Set(t, entryOf(list[0].Event))
			delete(r.conflicts, t)
			continue
		}
		slices.SortFunc(list, func(x, y *candidate) int {
			return cmp.Or(cmp.Compare(x.Depth, y.Depth), bytes.Compare(y.sum[:], x.sum[:]))
		})
	}
	return nil
}

// chooseAll decides conflicts of a kind. They don't count for one another: the result
// mustn't depend on which is decided first.
func (r *firstResolver) chooseAll(of func(storage.StateTuple) bool, choose func(storage.StateTuple, []*candidate) (*candidate, error)) error {
	resolved := r.state
	for t, list := range r.conflicts {
		if !of(t) {
			continue
		}
		chosen, err := choose(t, list)
		if err != nil {
			return err
		}
		resolved = resolved.Set(t, entryOf(chosen.Event))
		delete(r.conflicts, t)
	}
	r.state = resolved
	return nil
}

// lastInRow is the last of the events, the least deep first, up to which the rules allow
// each after the one before it.
func (r *firstResolver) lastInRow(t storage.StateTuple, list []*candidate) (*candidate, error) {
	chosen := list[0]
	for _, next := range list[1:] {
		allowed, err := r.allowed(next, r.state.Set(t, entryOf(chosen.Event)))
		if err != nil {
			return nil, err
		}
		if !allowed {
			break
		}
		chosen = next
	}
	return chosen, nil
}

// deepestAllowed is the deepest of the events that the rules allow. If there is none, the
// page says nothing; servers have always taken the least deep.
func (r *firstResolver) deepestAllowed(_ storage.StateTuple, list []*candidate) (*candidate, error) {
	for _, c := range slices.Backward(list) {
		if allowed, err := r.allowed(c, r.state); err != nil || allowed {
			return c, err
		}
	}
	return list[0], nil
}

func (r *firstResolver) allowed(c *candidate, state storage.StateMap) (bool, error) {
	err := r.b.allowedBy(c.pdu, state)
	var refused *httpapi.Error
	if errors.As(err, &refused) {
		return false, nil
	}
	return err == nil, err
}
