package syncapi

import (
	"slices"
	"time"

	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// follow takes over a committed batch. It runs on the stream's writer, before
// anyone is told that their change is done.
func (h *hub) follow(b *storage.Batch) {
	h.mu.Lock()
	for _, c := range b.Changes {
		if c.Room != nil {
			h.followRoom(c.Room)
		}
		for _, r := range c.Receipts {
			h.followReceipt(r)
		}
		for _, d := range c.AccountData {
			if u := h.users[d.UserID]; u != nil {
				u.accountData = max(u.accountData, d.Position)
				u.noteData(d)
				h.concerns(u, d.Position)
			}
		}
		for _, s := range c.ThreadSubscriptions {
			if u := h.users[s.UserID]; u != nil {
				u.threads = s.Position
				h.concerns(u, s.Position)
			}
		}
		for _, p := range c.Presence {
			h.followPresence(p)
		}
		h.followDevices(c)
		for _, f := range c.Forgets {
			if u := h.users[f.UserID]; u != nil {
				if m, ok := u.memberships[f.RoomNID]; ok {
					m.Forgotten = true
					u.memberships[f.RoomNID] = m
				}
			}
		}
	}
	h.position = b.Position
	over := h.bytes+h.standing > h.o.CacheBytes && h.bytes > 0
	h.mu.Unlock()
	h.poke()
	if over {
		h.shrink()
	}
}

// followEncrypted notes who has sent something encrypted: that is news to their own devices, also to
// those that ask for no rooms.
func (h *hub) followEncrypted(c *storage.RoomChange) {
	for _, e := range c.Events {
		if e.Type != "m.room.encrypted" || e.Position == 0 {
			continue
		}
		if u := h.users[e.Sender]; u != nil {
			u.encrypted.Store(e.Position)
			h.concerns(u, e.Position)
		}
	}
}

func (h *hub) followRoom(c *storage.RoomChange) {
	for _, m := range c.Memberships {
		h.followMembership(m)
	}
	h.wakePeekers(c.Room.NID)
	h.followSticky(c)
	h.followEncrypted(c)
	r := h.rooms[c.Room.NID]
	if r == nil {
		return
	}
	h.advance(r, c)
	r.logState(c)
	if c.Completed { // events have come into the timeline, and gone from it
		h.forgetTail(r, c.Position)
		c = &storage.RoomChange{Redactions: c.Redactions}
	}
	for i, e := range c.Events {
		if e.Position != 0 && e.Accepted() {
			r.bump(e)
			h.appendTail(r, newEntry(e, highlightsOf(c, i), exceptionsOf(c, i)))
		}
	}
	for _, redacted := range c.Redactions {
		r.redact(redacted)
	}
	for u := range r.watchers {
		h.concerns(u, r.latest)
	}
}

// advance moves the room's view on.
func (h *hub) advance(r *room, c *storage.RoomChange) {
	v := &roomserver.View{Room: c.Room, State: c.StateAfter}
	if c.Summary != nil {
		v.Summary = *c.Summary
	} else if r.view != nil {
		v.Summary = r.view.Summary
	}
	if r.view != nil && r.view.Room.LatestPosition < c.Room.LatestPosition {
		r.view = v
	}
	if c.Summary != nil {
		r.outline = outlineOf(c.Summary)
	}
	r.latest = max(r.latest, c.Room.LatestPosition)
}

func highlightsOf(c *storage.RoomChange, event int) []string {
	var users []string
	for _, hl := range c.Highlights {
		if hl.Event == event {
			users = append(users, hl.UserID)
		}
	}
	return users
}

func exceptionsOf(c *storage.RoomChange, event int) []storage.Exception {
	var list []storage.Exception
	for _, x := range c.Exceptions {
		if x.Event == event {
			list = append(list, x)
		}
	}
	return list
}

func (h *hub) appendTail(r *room, n *entry) {
	if len(r.tail) >= maxTail {
		cut := len(r.tail) - minTail
		r.tailFrom = r.tail[cut-1].event.Position
		for _, old := range r.tail[:cut] {
			h.grow(r, -old.size())
		}
		r.tail = slices.Clone(r.tail[cut:])
	}
	r.tail = append(r.tail, n)
	r.relate(r.tail[len(r.tail)-1:])
	h.grow(r, n.size())
}

func (h *hub) grow(r *room, bytes int64) {
	r.bytes += bytes
	h.bytes += bytes
}

// size is about what an entry takes, rendered.
func (e *entry) size() int64 { return int64(2*len(e.event.JSON) + 500 + 100*len(e.exceptions)) }

// redact puts the redacted form of an event in its place in the tail, and has the
// events rendered anew that show its content as what was before.
func (r *room) redact(redacted *storage.Event) {
	tail := slices.Clone(r.tail) // readers may hold the old one
	for i, old := range tail {
		switch redacted.NID {
		case old.event.NID:
			shown := *redacted
			shown.Place = old.event.Place
			r.recount(old)
			tail[i] = newEntry(&shown, nil, nil)
			tail[i].related.Store(old.related.Load())
		case old.event.ReplacesNID:
			tail[i] = newEntry(old.event, old.highlights, old.exceptions)
			tail[i].related.Store(old.related.Load())
		}
	}
	r.tail = tail
}

func (h *hub) followMembership(m storage.Membership) {
	u := h.users[m.UserID]
	if u == nil {
		return
	}
	h.setMembership(u, m)
	h.concerns(u, m.Position)
}

// setMembership takes over a membership unless a newer one is known.
func (h *hub) setMembership(u *user, m storage.Membership) {
	if old, ok := u.memberships[m.RoomNID]; ok && old.Position > m.Position {
		return
	}
	u.memberships[m.RoomNID] = m
	delete(u.outlines, m.RoomNID)
	if m.Membership != "join" {
		delete(u.unread, m.RoomNID) // should they join again, it begins there
	}
	r := h.rooms[m.RoomNID]
	if r == nil {
		if m.Membership != "join" {
			return
		}
		r = h.addRoom(m.RoomNID, m.RoomID)
	}
	if m.Membership == "join" {
		r.watchers[u] = struct{}{}
		return
	}
	delete(r.watchers, u)
}

// addRoom starts following a room, from here on.
func (h *hub) addRoom(nid int64, id string) *room {
	r := &room{nid: nid, id: id, tailFrom: h.position, liveFrom: h.position, receiptsFrom: h.position, stateFrom: h.position, latest: -1,
		watchers: map[*user]struct{}{}, typing: map[string]time.Time{}}
	h.rooms[nid], h.byID[id] = r, r
	return r
}

func (h *hub) followReceipt(x storage.Receipt) {
	if x.Type == "m.read" || x.Type == "m.read.private" {
		if u := h.users[x.UserID]; u != nil {
			u.readAt = x.Position
			if r := h.rooms[x.RoomNID]; r != nil {
				u.readUpTo(r, x.ThreadID, x.EventPosition)
			}
		}
	}
	r := h.rooms[x.RoomNID]
	if r == nil {
		return
	}
	if len(r.receipts) >= maxReceiptTail {
		cut := len(r.receipts) / 2
		r.receiptsFrom = r.receipts[cut-1].Position
		r.receipts = slices.Clone(r.receipts[cut:])
	}
	r.receipts = append(r.receipts, x)
	if x.Type == "m.read.private" {
		if u := h.users[x.UserID]; u != nil {
			h.concerns(u, x.Position)
		}
		return
	}
	for u := range r.watchers {
		h.concerns(u, x.Position)
	}
}

func (h *hub) followPresence(p storage.Presence) {
	rooms := p.Rooms
	p.Rooms = nil
	h.presence[p.UserID] = p
	if !userid.IsLocal(p.UserID, h.o.ServerName) {
		h.heard[p.UserID] = time.Now()
	}
	if len(h.presenceLog) >= maxPresenceLog {
		h.presenceLog = slices.Clone(h.presenceLog[maxPresenceLog/2:])
	}
	h.presenceLog = append(h.presenceLog, userChange{p.Position, p.UserID})
	if u := h.users[p.UserID]; u != nil {
		for nid, m := range u.memberships {
			if m.Membership == "join" {
				rooms = append(rooms, nid)
			}
		}
	}
	told := map[*user]bool{}
	for _, nid := range rooms {
		r := h.rooms[nid]
		if r == nil {
			continue
		}
		for w := range r.watchers {
			if !told[w] {
				told[w] = true
				h.concerns(w, p.Position)
			}
		}
	}
}

// shrink drops the tails that were not read for longest until all fit the budget.
func (h *hub) shrink() {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*room
	for _, r := range h.rooms {
		if r.bytes > 0 {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *room) int { return a.used.Compare(b.used) })
	for _, r := range all {
		if h.bytes+h.standing <= h.o.CacheBytes*3/4 {
			return
		}
		h.forgetTail(r, h.position)
	}
}

// forgetTail has the room's timeline up to a position be read anew when it is needed.
func (h *hub) forgetTail(r *room, upTo storage.Position) {
	h.grow(r, -r.bytes)
	r.tail, r.tailFrom, r.liveFrom = nil, upTo, upTo
}
