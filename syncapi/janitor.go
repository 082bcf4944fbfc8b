package syncapi

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"hearth/storage"
)

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
	for _, u := range h.users {
		if u.lastSync.Load() <= before && !u.waiting() {
			h.forgetUser(u)
		}
	}
	if h.measure(); h.standing > h.o.CacheBytes/2 {
		h.forgetLeastRecent()
	}
	maps.DeleteFunc(h.sticky, func(_ int64, n storage.StickyNote) bool { return n.Until < time.Now().UnixMilli() })
	for nid, r := range h.rooms {
		if len(r.watchers) == 0 && len(r.typing) == 0 {
			h.grow(r, -r.bytes)
			delete(h.rooms, nid)
			delete(h.byID, r.id)
		}
	}
	h.measure()
}

func (h *hub) forgetUser(u *user) {
	for nid := range u.memberships {
		if r := h.rooms[nid]; r != nil {
			delete(r.watchers, u)
		}
	}
	delete(h.users, u.id)
}

// About what a user, each of their memberships, a room and a change of its state take in
// memory.
const userBytes, membershipBytes, roomBytes, stateChangeBytes = 1000, 300, 1200, 150

// size is about what is known of the user takes. The hub's lock is held.
func (u *user) size() int64 {
	return userBytes + u.invites.Bytes() + membershipBytes*int64(len(u.memberships)) + 100*int64(len(u.toDevice)+len(u.ignored)+len(u.direct)+len(u.outlines)+2*len(u.roomData))
}

func (h *hub) measure() {
	h.standing = roomBytes * int64(len(h.rooms))
	for _, r := range h.rooms {
		h.standing += stateChangeBytes * int64(len(r.stateLog))
	}
	for _, u := range h.users {
		h.standing += u.size()
	}
}

// forgetLeastRecent forgets those who haven't synced for longest, so that users and
// rooms take no more than half of the budget. Who waits at the moment stays: there
// are no more of them than connections.
func (h *hub) forgetLeastRecent() {
	all := slices.Collect(maps.Values(h.users))
	slices.SortFunc(all, func(a, b *user) int { return cmp.Compare(a.lastSync.Load(), b.lastSync.Load()) })
	for _, u := range all {
		if h.standing <= h.o.CacheBytes/3 {
			return
		}
		if !u.waiting() {
			h.standing -= u.size()
			h.forgetUser(u)
		}
	}
}
