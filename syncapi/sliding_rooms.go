package syncapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sort"
	"time"

	"hearth/internal/token"
	"hearth/roomserver"
	"hearth/storage"
)

// overview is what a request tells of rooms.
type overview struct {
	*selection
	// looks are of the rooms in which there may be something to tell.
	looks []*roomLook
	// told is what the client knows of rooms after the answer, where that changes.
	told map[int64]*toldRoom
	// events are those of the rooms' states that are told, and what they refer to.
	events       map[int64]*storage.Event
	stateRelated *roomserver.Related
	related      *roomserver.Related
}

// roomLook is a room as it is told.
type roomLook struct {
	*wantedRoom
	shot     *roomShot
	timeline *timeline // nil for none
	stripped []json.RawMessage
	// state are the events of required_state, removed the pieces that are no more.
	state   []int64
	removed []storage.StateTuple
	heroes  []string
	initial bool
	// hidden is a room of which the client isn't told after all.
	hidden bool
	// nameChanged and so on are whether these are told of a room that was told before.
	nameChanged, avatarChanged, membersChanged, countsChanged bool
	// name and avatar are the events that hold these, 0 for none.
	name, avatar int64
	// members are the member events among state, by who they are of.
	members map[string]int64
	// bump is when there was activity last, bumped whether that is news.
	bump   storage.Position
	bumped bool
}

func (v *overview) anyRoom() bool { return slices.ContainsFunc(v.looks, (*roomLook).worthTelling) }

// worthTelling reports whether there is anything new in the room.
func (l *roomLook) worthTelling() bool {
	if l.hidden {
		return false
	}
	t := l.timeline
	return l.initial || l.stripped != nil || t != nil && (len(t.entries) > 0 || t.limited) || len(l.state)+len(l.removed) > 0 ||
		l.nameChanged || l.avatarChanged || l.membersChanged || l.bumped || l.countsChanged || l.told.dm != l.dm
}

// unread is the room's count, of all threads together.
func (l *roomLook) unread() (all storage.Unread) {
	if l.shot != nil {
		for _, n := range l.shot.unread {
			all.Notifications += n.Notifications
			all.Highlights += n.Highlights
		}
	}
	return all
}

// look finds out what there is to tell of the rooms.
func (q *slide) look(ctx context.Context, s *selection) (*overview, error) {
	v := &overview{selection: s, told: map[int64]*toldRoom{}}
	m, others, err := q.shots(ctx, v)
	if err != nil {
		return nil, err
	}
	if !q.usedBefore.IsZero() && q.now.Sub(q.usedBefore) > staleAfter && len(v.looks)+len(others) > maxStale {
		return nil, unknownPos() // it is faster to begin with what is shown first
	}
	if err := q.lookInside(ctx, v, m); err != nil {
		return nil, err
	}
	for _, l := range others {
		if err := q.lookFromOutside(ctx, l); err != nil {
			return nil, err
		}
		v.looks = append(v.looks, l)
	}
	for _, l := range v.looks {
		v.told[l.membership.RoomNID] = q.telling(l, m.token.Position)
	}
	return v, q.loadEvents(ctx, v)
}

// Who comes back after staleAfter to news in more than maxStale rooms had better begin
// anew.
const staleAfter, maxStale = time.Hour, 100

// shots takes the moment of the rooms in which something may have happened, loading what is
// missing in memory.
func (q *slide) shots(ctx context.Context, v *overview) (m *moment, others []*roomLook, err error) {
	for {
		m, others, v.looks = &moment{}, nil, nil
		var missing []*room
		q.api.hub.mu.RLock()
		m.token = token.SyncAt(q.api.hub.position, 0)
		for nid, w := range v.rooms {
			w.membership = q.u.memberships[nid]
			r := q.api.hub.rooms[nid]
			if w.membership.Membership != "join" {
				if q.isDue(w, nil) {
					others = append(others, &roomLook{wantedRoom: w})
				}
				continue
			}
			if !q.isDue(w, r) {
				continue
			}
			if r.view == nil {
				missing = append(missing, r)
				continue
			}
			if r.view.Room.IsPartial() && w.rules.needMembers(q.api.o.ServerName) {
				v.hide(nid) // until they are known
				continue
			}
			v.looks = append(v.looks, &roomLook{wantedRoom: w, shot: q.shootWanted(r, w)})
		}
		q.api.hub.mu.RUnlock()
		if len(missing) == 0 {
			return m, others, nil
		}
		if err := q.api.loadRooms(ctx, missing); err != nil {
			return nil, nil, err
		}
	}
}

// isDue reports whether there may be anything to tell of a room; r is nil for one that the
// user isn't in. The hub's lock is held.
func (q *slide) isDue(w *wantedRoom, r *room) bool {
	t := w.told
	if t == nil || w.membership.Position > t.upTo || w.dm != t.dm {
		return true
	}
	return r != nil && (r.latest > t.upTo || w.limit > t.limit || w.rules.id != t.rules.id || q.wire.counts && q.hasRead(r, max(t.upTo, q.pos.position)))
}

// hasRead reports whether the user has read on in the room since the position.
func (q *slide) hasRead(r *room, since storage.Position) bool {
	if q.u.readAt <= since {
		return false
	}
	from := sort.Search(len(r.receipts), func(i int) bool { return r.receipts[i].Position > since })
	return slices.ContainsFunc(r.receipts[from:], func(x storage.Receipt) bool { return x.UserID == q.u.id })
}

// shootWanted takes a joined room as it is. The hub's lock is held.
func (q *slide) shootWanted(r *room, w *wantedRoom) *roomShot {
	s := &roomShot{room: r, membership: w.membership, view: r.view, tail: r.tail, tailFrom: r.tailFrom, latest: r.latest, limit: w.limit}
	s.newly = true
	if t := w.told; t != nil {
		s.since, s.newly = t.upTo, w.membership.Position > t.upTo
	}
	s.unread, s.unreadKnown = q.u.countUnread(r)
	return s
}

// lookInside finds out what there is to tell of rooms that the user is in, with queries
// that don't grow with their number.
func (q *slide) lookInside(ctx context.Context, v *overview, m *moment) error {
	for _, l := range v.looks {
		m.joined = append(m.joined, l.shot)
	}
	if err := q.loadVisibilities(ctx, m); err != nil {
		return err
	}
	since := map[*room]storage.Position{}
	rooms := make([]*room, len(v.looks))
	for i, l := range v.looks {
		t, s := l.told, l.shot
		if rooms[i] = s.room; s.newly {
			l.initial = true
			continue
		}
		s.expanded = l.limit > t.limit && !t.whole && t.held < l.limit
		if s.latest > s.since {
			since[s.room] = s.since
		}
	}
	if err := q.loadTails(ctx, m); err != nil {
		return err
	}
	if err := q.loadUnread(ctx, m); err != nil {
		return err
	}
	bumps, err := q.api.bumps(ctx, rooms, m.token.Position)
	if err != nil {
		return err
	}
	changed, err := q.api.changedState(ctx, since)
	if err != nil {
		return err
	}
	for _, l := range v.looks {
		if l.limit > 0 {
			if l.timeline, err = q.timeline(ctx, m, l.shot); err != nil {
				return err
			}
		}
		l.bump = bumps[l.shot.room.nid]
		if !l.initial {
			l.bumped = l.bump > l.shot.since
			l.countsChanged = q.wire.counts && l.told.unread != l.unread()
		}
		q.pickState(l, l.shot.view.State, changed[l.shot.room.nid])
	}
	return nil
}

// lookFromOutside finds out what there is to tell of a room that the user isn't in.
func (q *slide) lookFromOutside(ctx context.Context, l *roomLook) (err error) {
	l.initial, l.bump, l.bumped = l.told == nil, l.membership.Position, true
	switch l.membership.Membership {
	case "invite", "knock":
		l.stripped, err = q.strippedState(ctx, l.membership)
		return err
	}
	v, err := q.api.rooms.View(ctx, l.membership.RoomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		l.hidden = true
		return nil
	}
	if err != nil {
		return err
	}
	vis, err := q.api.rooms.Visibility(ctx, v, q.u.id)
	if err != nil {
		return err
	}
	if l.initial && !vis.WasIn() {
		l.hidden = true // who was never in, or knew of it, isn't told that they were kept out
		return nil
	}
	s := &roomShot{room: &room{nid: l.membership.RoomNID, id: l.membership.RoomID}, membership: l.membership, view: v, vis: vis, limit: l.limit}
	l.shot = s
	if s.newly = l.initial; !s.newly {
		s.since = l.told.upTo
	}
	if l.limit > 0 {
		if l.timeline, err = q.timelineOfLeft(ctx, s); err != nil {
			return err
		}
	}
	return q.pickLeftState(ctx, l)
}

// pickLeftState picks the state of a room that the user has left, as it was then.
func (q *slide) pickLeftState(ctx context.Context, l *roomLook) error {
	s := l.shot
	state, err := q.api.rooms.ReadableState(ctx, s.view, q.u.id)
	if err != nil {
		return err
	}
	if own, ok := s.view.Entry("m.room.member", q.u.id); ok {
		if state == nil { // who was never in is told that they aren't
			state = storage.NewStateMapBuilder().Map()
		}
		state = state.Set(storage.StateTuple{Type: "m.room.member", StateKey: q.u.id}, own)
	}
	var changed []storage.StateTuple
	if !l.initial {
		events, err := q.api.db.StateEventsBetween(ctx, s.room.nid, s.since, s.membership.Position)
		if err != nil {
			return err
		}
		for _, e := range events {
			changed = append(changed, storage.StateTuple{Type: e.Type, StateKey: *e.StateKey})
		}
	}
	if state != nil {
		q.pickState(l, state, changed)
	}
	return nil
}

// telling is what the client will know of the room.
func (q *slide) telling(l *roomLook, position storage.Position) *toldRoom {
	before := l.told
	t := &toldRoom{upTo: position, rules: q.c.share(l.rules), limit: l.limit, dm: l.dm, unread: l.unread()}
	if before != nil {
		t.receipts, t.data = before.receipts, before.data
	}
	if l.shot == nil { // nothing but that they are invited
		return t
	}
	if !l.initial {
		t.members = before.members
	}
	t.members = q.noteMembers(l, t.members)
	n := 0
	limited := false
	if l.timeline != nil {
		n, limited = len(l.timeline.entries), l.timeline.limited
	}
	switch {
	case l.initial || l.shot.expanded:
		t.held, t.whole = n, !limited && l.timeline != nil
	case limited:
		t.held = n
	default:
		t.held, t.whole, t.limit = before.held+n, before.whole, max(l.limit, before.limit)
	}
	return t
}
