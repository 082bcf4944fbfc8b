package syncapi

import (
	"context"
	"slices"
	"time"

	"hearth/roomserver"
	"hearth/storage"
)

// user returns somebody who syncs, reading their memberships when they are new.
func (a *API) user(ctx context.Context, id string) (*user, error) {
	h := a.hub
	h.mu.RLock()
	u := h.users[id]
	ready := u != nil && u.loaded
	h.mu.RUnlock()
	if ready {
		u.lastSync.Store(time.Now().UnixMilli()) // the janitor leaves them alone from here on
		return u, nil
	}
	h.mu.Lock()
	if u = h.users[id]; u == nil {
		// From here on the stream is followed; what came before is read below.
		u = &user{id: id, memberships: map[int64]storage.Membership{}, unread: map[int64]*unreadCount{},
			toDevice: map[string]storage.Position{}, followedFrom: h.position, threads: h.position,
			invitesAt: map[string]storage.Position{}, outlines: map[int64]*outline{}, roomData: map[string]roomData{}}
		u.deviceNews.Store(h.position)
		u.news.Store(h.position)
		u.lastSync.Store(time.Now().UnixMilli())
		u.typing.Store(h.typingSerial.Load())
		h.users[id] = u
	}
	h.mu.Unlock()
	if err := a.loadStickyNotes(ctx); err != nil {
		return nil, err
	}
	memberships, err := a.db.UserMemberships(ctx, id)
	if err != nil {
		return nil, err
	}
	data, err := a.db.AccountDataSince(ctx, id, 0)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range memberships {
		h.setMembership(u, m)
	}
	for _, d := range data {
		u.accountData = max(u.accountData, d.Position)
		u.noteData(d)
	}
	u.loaded = true
	return u, nil
}

// loadRooms reads the views of the rooms that aren't known yet.
func (a *API) loadRooms(ctx context.Context, rooms []*room) error {
	for _, r := range rooms {
		for loaded := false; !loaded; {
			v, err := a.rooms.View(ctx, r.id)
			if err != nil {
				return err
			}
			loaded = a.hub.setView(r, v)
		}
	}
	return nil
}

// setView takes over a view that was read, and reports false if the room has
// moved on since.
func (h *hub) setView(r *room, v *roomserver.View) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.Room.LatestPosition < r.latest {
		return r.view != nil
	}
	r.view, r.latest, r.outline = v, v.Room.LatestPosition, outlineOf(&v.Summary)
	return true
}

// loadTails extends the rooms' tails back to at least n events before their
// beginning, all in one query.
func (a *API) loadTails(ctx context.Context, rooms []*room, n int) error {
	h := a.hub
	byFrom := map[storage.Position][]int64{}
	h.mu.RLock()
	for _, r := range rooms {
		byFrom[r.tailFrom] = append(byFrom[r.tailFrom], r.nid)
	}
	h.mu.RUnlock()
	for from, nids := range byFrom {
		events, err := a.db.LatestEvents(ctx, nids, from, n)
		if err != nil {
			return err
		}
		h.mu.Lock()
		for _, nid := range nids {
			h.extend(h.rooms[nid], from, events[nid], n)
		}
		h.mu.Unlock()
	}
	return nil
}

// extend puts older events, newest first, before a tail that begins at from.
func (h *hub) extend(r *room, from storage.Position, older []*storage.Event, asked int) {
	if r.tailFrom != from {
		return // cut or extended by somebody else meanwhile
	}
	tail := make([]*entry, 0, len(older)+len(r.tail))
	for _, e := range slices.Backward(older) {
		n := newEntry(e, nil, nil)
		h.grow(r, n.size())
		tail = append(tail, n)
	}
	r.tail = append(tail, r.tail...)
	r.relate(r.tail)
	r.used = time.Now()
	if len(older) < asked {
		r.tailFrom = 0
	} else {
		r.tailFrom = older[len(older)-1].Position - 1
	}
}
