package syncapi

import (
	"context"
	"time"

	"hearth/storage"
)

// findSharers finds out whom changes of devices concern: everybody who shares a room with
// the one whose they are. tellSharers does that for rooms whose members are in memory; here
// the database says it, once for all who sync, so that nobody's rooms have to be loaded for
// it.
func (h *hub) findSharers() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-h.done; cancel() }()
	for {
		select {
		case <-h.devicesToFind:
		case <-h.done:
			return
		}
		for h.findSharersOnce(ctx) != nil {
			select { // the database will be back
			case <-time.After(time.Second):
			case <-h.done:
				return
			}
		}
	}
}

func (h *hub) findSharersOnce(ctx context.Context) error {
	h.mu.RLock()
	newest := map[string]storage.Position{}
	var last storage.Position
	for _, c := range h.deviceLog {
		if c.position > h.devicesUpTo {
			newest[c.userID], last = c.position, c.position
		}
	}
	h.mu.RUnlock()
	if len(newest) == 0 {
		return nil
	}
	ids := make([]string, 0, len(newest))
	for id := range newest {
		ids = append(ids, id)
	}
	joined, err := h.o.DB.JoinedRooms(ctx, ids)
	if err != nil {
		h.o.Logger.Error("finding who is to learn of changed devices failed", "err", err)
		return err
	}
	h.mu.Lock()
	for _, m := range joined {
		if r := h.rooms[m.RoomNID]; r != nil {
			for w := range r.watchers {
				h.devicesConcern(w, newest[m.UserID])
			}
		}
	}
	h.findPresumed(newest)
	for id, p := range newest {
		if u := h.users[id]; u != nil {
			h.devicesConcern(u, p)
		}
	}
	h.devicesUpTo = last
	h.mu.Unlock()
	h.poke()
	return nil
}

func (h *hub) devicesConcern(u *user, p storage.Position) {
	if u.deviceNews.Load() < p {
		u.deviceNews.Store(p)
		h.queueWake(u)
	}
}
