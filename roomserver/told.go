package roomserver

import (
	"fmt"

	"hearth/storage"
)

// Told is a state of a room as another server tells it, of events that are stored or else
// left out.
type Told struct {
	// After is an event and State the state before it: it is that after the event. Without
	// one State is the state right before what is being judged.
	After string
	State []string
}

// toldStates are the states that are told.
func (b *builder) toldStates(told []Told) (sets []storage.StateMap, err error) {
	var ids []string
	for _, t := range told {
		if t.After != "" {
			ids = append(ids, t.After)
		}
	}
	known, err := b.knownOf(ids)
	if err != nil {
		return nil, err
	}
	for _, t := range told {
		state, err := b.s.db.StateOf(b.ctx, b.head.row.NID, t.State)
		if err != nil {
			return nil, err
		}
		if e := known[t.After]; e != nil && e.IsState() && e.Flags&storage.Rejected == 0 {
			state = state.Set(tupleOf(e), entryOf(e))
		}
		sets = append(sets, state)
	}
	return sets, nil
}

// toldState is the one state that the states which are told make.
func (b *builder) toldState(told []Told) (storage.StateMap, error) {
	sets, err := b.toldStates(told)
	if err != nil {
		return nil, err
	}
	if len(sets) == 0 {
		return nil, fmt.Errorf("no state of %s is told", b.head.row.ID)
	}
	return b.resolve(sets)
}
