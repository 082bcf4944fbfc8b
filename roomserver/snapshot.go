package roomserver

import (
	"hearth/storage"
)

// snapshotChain is the newest state snapshot and its ancestors, the oldest
// first. A snapshot at depth d holds what changed since depth d minus its lowest
// set bit, like the cells of a Fenwick tree: a state of n changes is read in at
// most log2(n)+1 rows, and all snapshots together store each change about
// log2(n)/2 times, without ever copying the whole state.
type snapshotChain struct {
	list []storage.Snapshot
	// superseded are events in the list that are no longer current; the next
	// snapshot that merges them leaves them out.
	superseded map[int64]bool
}

// newSnapshotChain takes over a chain as read, leaving out what isn't current.
func newSnapshotChain(list []storage.Snapshot, state storage.StateMap) snapshotChain {
	current := make(map[int64]bool, state.Len())
	for it := state.Iterator(); !it.Done(); {
		_, e, _ := it.Next()
		current[e.EventNID] = true
	}
	c := snapshotChain{superseded: map[int64]bool{}}
	for _, s := range list {
		kept := make([]int64, 0, len(s.EventNIDs))
		for _, nid := range s.EventNIDs {
			if current[nid] {
				kept = append(kept, nid)
			}
		}
		s.EventNIDs = kept
		c.list = append(c.list, s)
	}
	return c
}

// with returns the chain after one more change: event takes the place of
// replaced (0 for none). nid numbers the new snapshot. c itself stays as it is.
func (c snapshotChain) with(nid, event, replaced int64) (snapshotChain, storage.Snapshot) {
	depth := int64(1)
	if n := len(c.list); n > 0 {
		depth = c.list[n-1].Depth + 1
	}
	parentDepth := depth - depth&-depth
	keep := len(c.list)
	for keep > 0 && c.list[keep-1].Depth > parentDepth {
		keep--
	}
	next := snapshotChain{superseded: make(map[int64]bool, len(c.superseded)+1)}
	for old := range c.superseded {
		next.superseded[old] = true
	}
	if replaced != 0 {
		next.superseded[replaced] = true
	}
	s := storage.Snapshot{NID: nid, Depth: depth}
	for _, merged := range c.list[keep:] {
		for _, e := range merged.EventNIDs {
			if next.superseded[e] {
				delete(next.superseded, e)
				continue
			}
			s.EventNIDs = append(s.EventNIDs, e)
		}
	}
	s.EventNIDs = append(s.EventNIDs, event)
	if keep > 0 {
		s.ParentNID = c.list[keep-1].NID
	}
	next.list = append(append(make([]storage.Snapshot, 0, keep+1), c.list[:keep]...), s)
	return next, s
}
