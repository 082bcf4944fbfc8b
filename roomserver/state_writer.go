package roomserver

import "hearth/storage"

// placeState is a state and the snapshots that it is stored as.
type placeState struct {
	state    storage.StateMap
	snapshot int64
	chain    snapshotChain // empty where it isn't known
}

// stateWriter makes the snapshots of states that follow one another.
type stateWriter struct {
	*builder
	rows []storage.Snapshot
}

// whole is a state with a snapshot that rests on no other.
func (w *stateWriter) whole(state storage.StateMap) (placeState, error) {
	if state.Len() == 0 {
		return placeState{state: state}, nil
	}
	nid, err := w.s.db.NextNID(w.ctx)
	if err != nil {
		return placeState{}, err
	}
	row := storage.Snapshot{NID: nid, Depth: 1, EventNIDs: nidsOf(state)}
	w.rows = append(w.rows, row)
	return placeState{state, nid, snapshotChain{list: []storage.Snapshot{row}, superseded: map[int64]bool{}}}, nil
}

// with is a state after an event that changes it.
func (w *stateWriter) with(before placeState, tuple storage.StateTuple, e *storage.Event, replaced int64) (placeState, error) {
	state := before.state.Set(tuple, entryOf(e))
	if len(before.chain.list) == 0 && before.state.Len() > 0 {
		return w.whole(state)
	}
	nid, err := w.s.db.NextNID(w.ctx)
	if err != nil {
		return placeState{}, err
	}
	chain, row := before.chain.with(nid, e.NID, replaced)
	w.rows = append(w.rows, row)
	return placeState{state, nid, chain}, nil
}
