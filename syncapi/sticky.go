package syncapi

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"hearth/roomserver"
	"hearth/storage"
)

// maxSticky bounds the sticky events that are told at once beside the timelines.
const maxSticky = 100

// loadStickyNotes finds out which rooms have sticky events, the first time that somebody syncs.
func (a *API) loadStickyNotes(ctx context.Context) error {
	h := a.hub
	h.mu.RLock()
	known := h.stickyKnown
	h.mu.RUnlock()
	if known {
		return nil
	}
	notes, err := a.db.StickyNotes(ctx, time.Now())
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for nid, n := range notes {
		h.noteSticky(nid, n)
	}
	h.stickyKnown = true
	return nil
}

func (h *hub) noteSticky(room int64, n storage.StickyNote) {
	h.stickyNewest = max(h.stickyNewest, n.Newest)
	old := h.sticky[room]
	h.sticky[room] = storage.StickyNote{Newest: max(old.Newest, n.Newest), Until: max(old.Until, n.Until), Past: max(old.Past, n.Past)}
}

func (h *hub) followSticky(c *storage.RoomChange) {
	for _, e := range c.Events {
		if e.StickyUntil != 0 && e.Position != 0 && e.Accepted() {
			h.noteSticky(c.Room.NID, storage.StickyNote{Newest: e.Position, Until: e.StickyUntil})
		}
	}
	for _, e := range c.Stuck {
		h.noteSticky(c.Room.NID, storage.StickyNote{Newest: e.StickyAt, Until: e.StickyUntil, Past: e.StickyAt})
		if r := h.rooms[c.Room.NID]; r != nil {
			for u := range r.watchers {
				h.concerns(u, e.StickyAt)
			}
		}
	}
}

// mayStick reports whether the room may have sticky events that came after a position. The
// hub's lock is held.
func (h *hub) mayStick(r *room, after storage.Position, now time.Time) bool {
	if h.stickyNewest <= after {
		return false
	}
	n := h.sticky[r.nid]
	return n.Newest > after && n.Until > now.UnixMilli()
}

// loadSticky finds the sticky events that the timelines don't show: those that came since the
// token, and in rooms that are new to the client all there are. Whether the user was there
// when they were sent doesn't matter. What are too many is told by the next answers.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4354
func (q *request) loadSticky(ctx context.Context, m *moment, parts []*part) error {
	after, byRoom := map[int64]storage.Position{}, map[int64]*part{}
	for _, p := range parts {
		if !p.mayStick {
			continue
		}
		from := q.since.Sticky
		if p.newly {
			from = 0
		}
		if p.tailFrom > from || p.pastSticky > from {
			after[p.room.nid], byRoom[p.room.nid] = from, p
			continue
		}
		for _, e := range p.tail[p.firstAfter(from):] {
			p.stick(q, e.event)
		}
	}
	if len(after) == 0 {
		return nil
	}
	events, err := q.api.db.StickyEvents(ctx, after, m.token.Position, q.now, maxSticky)
	for _, e := range events {
		byRoom[e.RoomNID].stick(q, e)
	}
	if len(events) == maxSticky {
		m.token.Sticky = events[maxSticky-1].ToldAt()
	}
	return err
}

// stick has a sticky event shown, unless the timeline shows it.
func (p *part) stick(q *request, e *storage.Event) {
	shown := slices.ContainsFunc(p.timeline.entries, func(s *entry) bool { return s.event.NID == e.NID })
	if e.StickyUntil > q.now.UnixMilli() && !shown && !q.ignored[e.Sender] {
		p.sticky = append(p.sticky, e)
	}
}

func (q *request) appendSticky(b []byte, p *part, related *roomserver.Related) []byte {
	if len(p.sticky) == 0 {
		return b
	}
	b = append(b, `,"msc4354_sticky":{"events":`...)
	return append(q.appendStickyEvents(b, p.sticky, p.vis, related), '}')
}

func (q *request) appendStickyEvents(b []byte, events []*storage.Event, vis *roomserver.Visibility, related *roomserver.Related) []byte {
	b = append(b, '[')
	to := roomserver.Reader{UserID: q.u.id, DeviceID: q.requester.DeviceID, Now: q.now.UnixMilli()}
	for _, e := range events {
		if vis != nil {
			to.Membership = vis.MembershipAt(e.Place)
		}
		b = q.appendFormatted(comma(b), e, func(b []byte) []byte { return roomserver.AppendClientEvent(b, e, related, to) })
	}
	return append(b, ']')
}

// extendSticky reads the sticky events, of all rooms in the lists, that the client wasn't told
// of and that the timelines don't show, the oldest first.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4480
func (q *slide) extendSticky(ctx context.Context, v *overview, x *extended) error {
	if x.stickyUpTo = v.position; len(v.candidates) == 0 {
		return nil
	}
	limit := maxSticky
	if l := q.params.extensions.Sticky.Limit; l != nil {
		limit = max(1, min(*l, maxSticky))
	}
	after := q.unknownSticky(v)
	if len(after) == 0 {
		return nil
	}
	events, err := q.api.db.StickyEvents(ctx, after, v.position, q.now, limit)
	if err != nil {
		return err
	}
	if len(events) == limit {
		x.stickyUpTo = events[limit-1].ToldAt()
	}
	shown := map[int64]bool{}
	for _, l := range v.looks {
		if l.timeline != nil {
			for _, e := range l.timeline.entries {
				shown[e.event.NID] = true
			}
		}
	}
	events = slices.DeleteFunc(events, func(e *storage.Event) bool { return shown[e.NID] || q.ignored[e.Sender] })
	x.sticky = map[string][]*storage.Event{}
	for _, e := range events {
		x.sticky[e.RoomID] = append(x.sticky[e.RoomID], e)
	}
	x.stickyRelated, err = q.api.rooms.Related(ctx, events)
	return err
}

// unknownSticky are the rooms with sticky events that the client may not know, and after which
// position they come: in a room that the user has come to since, any.
func (q *slide) unknownSticky(v *overview) map[int64]storage.Position {
	since := q.pos.position
	if q.initial {
		since = q.sticky
	}
	after := map[int64]storage.Position{}
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, c := range v.candidates {
		r := h.rooms[c.membership.RoomNID]
		if !c.listed || r == nil || c.membership.Membership != "join" || v.hidden[r.nid] {
			continue
		}
		from := q.sticky
		if c.membership.Position > since || r.view != nil && r.view.Room.BecameWhole() > since {
			from = 0
		}
		if h.mayStick(r, from, q.now) {
			after[r.nid] = from
		}
	}
	return after
}

func (q *slide) appendStickyExtension(b []byte, x *extended) []byte {
	b = append(appendJSON(comma(b), stickyExtension), `:{"next_batch":"`...)
	b = append(strconv.AppendInt(b, x.stickyUpTo, 10), `","rooms":{`...)
	for _, id := range slices.Sorted(maps.Keys(x.sticky)) {
		b = append(appendJSON(comma(b), id), `:{"events":`...)
		b = append(q.appendStickyEvents(b, x.sticky[id], nil, x.stickyRelated), '}')
	}
	return append(b, `}}`...)
}
