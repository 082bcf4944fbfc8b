package syncapi

import "time"

const (
	// idleAfter is how long somebody who stopped syncing is still followed.
	idleAfter = 10 * time.Minute
	// janitorEvery is how often those who went away are looked for.
	janitorEvery = time.Minute
)

// tidy forgets users who no longer sync and rooms that nobody watches: what a
// message costs depends on who is there, not on who ever was.
func (h *hub) tidy() {
	tick := time.NewTicker(janitorEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.done:
			return
		case now := <-tick.C:
			h.forgetIdle(now.Add(-idleAfter).UnixMilli())
		}
	}
}

func (h *hub) forgetIdle(before int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, u := range h.users {
		if u.lastSync.Load() > before || u.waiting() {
			continue
		}
		for nid := range u.memberships {
			if r := h.rooms[nid]; r != nil {
				delete(r.watchers, u)
			}
		}
		delete(h.users, id)
	}
	for nid, r := range h.rooms {
		if len(r.watchers) == 0 && len(r.typing) == 0 {
			h.grow(r, -r.bytes)
			delete(h.rooms, nid)
			delete(h.byID, r.id)
		}
	}
}
