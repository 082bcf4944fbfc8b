package syncapi

import (
	"context"
	"slices"
	"sort"

	"hearth/storage"
)

// maxStateLog bounds the changes of state that are kept of a room.
const maxStateLog = 256

// stateChange is a piece of a room's current state that changed. An event says less: state
// resolution may have decided against it, or brought back an older one.
type stateChange struct {
	storage.StateTuple
	position   storage.Position
	membership string
}

// logState takes over what a change made of the room's current state. The hub's lock is
// held for writing.
func (r *room) logState(c *storage.RoomChange) {
	if len(c.State) > maxStateLog { // the room was joined anew, or a fork resolved
		r.stateLog, r.stateFrom = nil, c.Room.LatestPosition
		return
	}
	if len(r.stateLog)+len(c.State) > maxStateLog {
		cut := len(r.stateLog) - maxStateLog/2
		cut = max(cut, len(r.stateLog)+len(c.State)-maxStateLog)
		r.stateFrom = r.stateLog[cut-1].position
		r.stateLog = slices.Clone(r.stateLog[cut:])
	}
	for _, s := range c.State {
		at := c.Room.LatestPosition
		if s.Event < len(c.Events) && c.Events[s.Event].Position != 0 {
			at = c.Events[s.Event].Position
		}
		r.stateLog = append(r.stateLog, stateChange{s.StateTuple, at, s.Membership})
	}
}

// stateSince returns the changes after the position, false if memory doesn't reach back so
// far. The hub's lock is held.
func (r *room) stateSince(p storage.Position) ([]stateChange, bool) {
	if r.stateFrom > p {
		return nil, false
	}
	return r.stateLog[sort.Search(len(r.stateLog), func(i int) bool { return r.stateLog[i].position > p }):], true
}

// changedState returns for each room what pieces of its state changed since a position of
// the room's own, in one query at most.
func (a *API) changedState(ctx context.Context, since map[*room]storage.Position) (map[int64][]storage.StateTuple, error) {
	changed := make(map[int64][]storage.StateTuple, len(since))
	missing := map[int64]storage.Position{}
	h := a.hub
	h.mu.RLock()
	for r, p := range since {
		log, ok := r.stateSince(p)
		if !ok {
			missing[r.nid] = p
			continue
		}
		for _, c := range log {
			changed[r.nid] = append(changed[r.nid], c.StateTuple)
		}
	}
	h.mu.RUnlock()
	if len(missing) == 0 {
		return changed, nil
	}
	read, err := a.db.StateChangedSince(ctx, missing)
	for nid, tuples := range read {
		changed[nid] = tuples
	}
	return changed, err
}
