package syncapi

import (
	"context"
	"slices"

	"hearth/storage"
)

// bumpTypes are the events that count as activity in a room.
var bumpTypes = []string{"m.room.create", "m.room.message", "m.room.encrypted", "m.sticker",
	"m.call.invite", "m.poll.start", "org.matrix.msc3381.poll.start", "m.beacon_info", "org.matrix.msc3672.beacon_info"}

// bump takes an event into account that was appended. The hub's lock is held for writing.
func (r *room) bump(e *storage.Event) {
	if slices.Contains(bumpTypes, e.Type) {
		r.bumped = e.Position
	}
}

// bumps returns when the rooms last saw activity, as of a position.
func (a *API) bumps(ctx context.Context, rooms []*room, upTo storage.Position) (map[int64]storage.Position, error) {
	bumped := make(map[int64]storage.Position, len(rooms))
	var missing []int64
	h := a.hub
	h.mu.RLock()
	for _, r := range rooms {
		if bumped[r.nid] = r.bumped; r.bumped == 0 {
			missing = append(missing, r.nid)
		}
	}
	h.mu.RUnlock()
	if len(missing) == 0 {
		return bumped, nil
	}
	found, err := a.db.LatestOf(ctx, missing, bumpTypes, upTo)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for nid, p := range found {
		bumped[nid] = p
		if r := h.rooms[nid]; r != nil && r.bumped == 0 {
			r.bumped = p
		}
	}
	return bumped, nil
}
