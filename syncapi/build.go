package syncapi

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"hearth/internal/token"
	"hearth/push"
	"hearth/roomserver"
	"hearth/storage"
)

// part is a joined room's share of the answer.
type part struct {
	*roomShot
	timeline *timeline
	state    []int64
	// sticky are those sticky events that the timeline doesn't show.
	sticky []*storage.Event
}

// build writes the answer, and reports whether there was nothing to tell.
func (q *request) build(ctx context.Context) (answer []byte, empty bool, err error) {
	counts, err := q.api.db.GetKeyCounts(ctx, q.u.id, q.requester.DeviceID)
	if err != nil {
		return nil, false, err
	}
	if m := q.quiet(); m != nil {
		return q.finish(nil, m, counts), true, nil
	}
	m, err := q.collect(ctx)
	if err != nil {
		return nil, false, err
	}
	if err := q.loadDevices(ctx, m); err != nil {
		return nil, false, err
	}
	if !q.initial && !q.fullState && len(m.messages) == 0 && m.devices.empty() && len(m.joined)+len(m.others)+len(m.unshown)+len(m.unshownOthers)+len(m.changed) == 0 && !m.account {
		return q.finish(nil, m, counts), true, nil
	}
	data, err := q.accountData(ctx, m)
	if err != nil {
		return nil, false, err
	}
	parts, err := q.parts(ctx, m)
	if err != nil {
		return nil, false, err
	}
	b := make([]byte, 0, 4096)
	body := len(b)
	b = q.appendAccountData(b, data)
	if err := q.membersInSight(ctx, m); err != nil {
		return nil, false, err
	}
	b = q.appendPresence(b, append(m.changed, q.presenceOf(m)...))
	b = appendToDevice(b, m.messages)
	b = m.devices.append(b)
	if b, err = q.appendRooms(ctx, b, m, parts); err != nil {
		return nil, false, err
	}
	return q.finish(b, m, counts), len(b) == body, nil
}

// keepToken is how far the stream may go on, in positions, before a client for whom
// there is nothing is given another token: with the same one it sends the same
// request, which is the cheapest to answer; but with an old one more has to be
// looked through when there is something.
const keepToken = 10_000

// quiet returns the moment if nothing concerns the user since their token, without
// a look at their rooms; otherwise nil.
func (q *request) quiet() *moment {
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	if q.initial || q.fullState || q.hasNews() {
		return nil
	}
	now := token.SyncAt(h.position, h.typingSerial.Load())
	if now.Position-q.since.Position < keepToken && q.since.Typing <= now.Typing {
		now = q.since
	}
	return &moment{token: now}
}

// finish puts the token in front of the parts, which each begin with a comma.
func (q *request) finish(parts []byte, m *moment, counts storage.KeyCounts) []byte {
	b := append(make([]byte, 0, len(parts)+256), `{"next_batch":"`...)
	b = append(m.token.Append(b), '"')
	b = appendKeyCounts(b, counts)
	return append(append(b, parts...), '}')
}

// parts prepares every joined room, with queries that don't grow with their number.
func (q *request) parts(ctx context.Context, m *moment) ([]*part, error) {
	if err := q.loadVisibilities(ctx, m); err != nil {
		return nil, err
	}
	if err := q.loadTails(ctx, m); err != nil {
		return nil, err
	}
	if err := q.loadReceipts(ctx, m); err != nil {
		return nil, err
	}
	if err := q.loadUnread(ctx, m); err != nil {
		return nil, err
	}
	if err := q.loadStateChanged(ctx, m); err != nil {
		return nil, err
	}
	if q.filter.Room.State.LazyLoadMembers {
		q.sent = q.api.members.of(q.u.id, q.requester.DeviceID, q.initial, q.since.Position, m.token.Position)
	}
	parts := make([]*part, 0, len(m.joined))
	for _, s := range m.joined {
		p := &part{roomShot: s}
		var err error
		if p.timeline, err = q.timeline(ctx, m, s); err != nil {
			return nil, err
		}
		if p.state, err = q.stateOf(ctx, m, s, p.timeline); err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, q.loadSticky(ctx, m, parts)
}

// loadVisibilities finds out what the user may see, and which rooms are new to
// the client rather than rooms whose member event merely changed.
func (q *request) loadVisibilities(ctx context.Context, m *moment) error {
	all := slices.Concat(m.joined, m.unshown)
	views := make([]*roomserver.View, len(all))
	for i, s := range all {
		views[i] = s.view
	}
	visible, err := q.api.rooms.Visibilities(ctx, views, q.u.id)
	if err != nil {
		return err
	}
	for _, s := range all {
		s.vis = visible[s.room.nid]
		if s.newly && !q.initial {
			s.newly = s.vis.MembershipAt(storage.Place{Position: s.since}) != "join" || q.isNew(s)
		}
	}
	return nil
}

// loadStateChanged finds out what state has changed, for clients that don't take it from
// the timeline.
func (q *request) loadStateChanged(ctx context.Context, m *moment) (err error) {
	if !q.stateAfter {
		return nil
	}
	since := map[*room]storage.Position{}
	for _, s := range m.joined {
		if !s.newly && s.latest > s.since {
			since[s.room] = s.since
		}
	}
	m.stateChanged, err = q.api.changedState(ctx, since)
	return err
}

// loadReceipts reads the receipts that memory doesn't reach back to.
func (q *request) loadReceipts(ctx context.Context, m *moment) error {
	byFrom := map[storage.Position][]int64{}
	for _, s := range m.joined {
		if from := s.from(); s.receiptsFrom > from || from == 0 {
			byFrom[from] = append(byFrom[from], s.room.nid)
		}
	}
	for from, nids := range byFrom {
		found, err := q.api.db.RoomReceipts(ctx, nids, from)
		if err != nil {
			return err
		}
		for _, s := range m.joined {
			if s.from() == from && (s.receiptsFrom > from || from == 0) {
				s.receipts = found[s.room.nid]
			}
		}
	}
	return nil
}

// accountData reads what of the user's account data is new.
func (q *request) accountData(ctx context.Context, m *moment) ([]storage.AccountData, error) {
	all, err := q.readAccountData(ctx, m)
	if err != nil {
		return nil, err
	}
	var global []storage.AccountData
	changedRules := false
	rooms := map[string][]storage.AccountData{}
	for _, d := range all {
		if d.Position > m.token.Position && !q.initial {
			continue // of the next sync
		}
		if q.initial && string(d.Content) == deleted {
			continue // who doesn't know it needn't be told that it has gone
		}
		if d.RoomID == "" {
			if d.Type == "m.push_rules" {
				d.Content, changedRules = push.Content(q.u.id, d.Content), true
			}
			global = append(global, d)
		} else {
			rooms[d.RoomID] = append(rooms[d.RoomID], d)
		}
	}
	if len(rooms) > 0 {
		q.attachRoomData(m, rooms)
	}
	if q.initial && !changedRules {
		global = append(global, storage.AccountData{Type: "m.push_rules", Content: push.DefaultRules(q.u.id)})
	}
	return global, nil
}

// readAccountData reads what is new: all of it in rooms that are new to the client, where it
// may be from before the user came.
func (q *request) readAccountData(ctx context.Context, m *moment) (all []storage.AccountData, err error) {
	after := map[string]storage.Position{}
	if m.account {
		if all, err = q.api.db.AccountDataSince(ctx, q.u.id, q.since.Position); err != nil {
			return nil, err
		}
	}
	if q.initial {
		return all, nil
	}
	for _, s := range m.joined {
		if s.newly {
			after[s.room.id] = 0
		}
	}
	if len(after) == 0 {
		return all, nil
	}
	all = slices.DeleteFunc(all, func(d storage.AccountData) bool { _, anew := after[d.RoomID]; return anew })
	more, err := q.api.db.RoomDataSince(ctx, q.u.id, after)
	return append(all, more...), err
}

// attachRoomData gives account data to its rooms, taking in those in which
// nothing else is new.
func (q *request) attachRoomData(m *moment, rooms map[string][]storage.AccountData) {
	for _, s := range m.joined {
		s.data = rooms[s.room.id]
		delete(rooms, s.room.id)
	}
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	for roomID, data := range rooms {
		r := h.byID[roomID]
		if r == nil || r.view == nil || !q.filter.MatchesRoom(roomID) || q.awaitsMembers(r.view) {
			continue
		}
		membership, ok := q.u.memberships[r.nid]
		if !ok || membership.Membership != "join" {
			continue
		}
		unread, known := q.u.countUnread(r)
		m.joined = append(m.joined, &roomShot{room: r, membership: membership, view: r.view, latest: q.since.Position,
			since: q.since.Position, limit: q.limit(), receiptsFrom: q.since.Position, data: data, unread: unread, unreadKnown: known})
	}
}

func (q *request) appendAccountData(b []byte, data []storage.AccountData) []byte {
	return q.appendData(b, `,"account_data":{"events":[`, data, q.filter.AccountData.MatchesPiece)
}

// appendRoomData appends a room's account data; of a room that is new to the client it says
// so if there is none.
func (q *request) appendRoomData(b []byte, s *roomShot) []byte {
	f := &q.filter.Room.AccountData
	if !f.MatchesRoom(s.room.id) {
		return b
	}
	with := q.appendData(b, `,"account_data":{"events":[`, s.data, f.MatchesPiece)
	if len(with) == len(b) && s.newly {
		return append(b, `,"account_data":{"events":[]}`...)
	}
	return with
}

// appendData appends account data under a name; nothing at all if there is none.
func (q *request) appendData(b []byte, open string, data []storage.AccountData, matches func(eventType, sender string) bool) []byte {
	start := len(b)
	b = append(b, open...)
	n := 0
	for _, d := range data {
		if !matches(d.Type, q.u.id) {
			continue
		}
		if n > 0 {
			b = append(b, ',')
		}
		n++
		b = append(append(b, `{"content":`...), d.Content...)
		b = append(appendJSON(append(b, `,"type":`...), d.Type), '}')
	}
	if n == 0 {
		return b[:start]
	}
	return append(b, `]}`...)
}

func (q *request) appendPresence(b []byte, changed []storage.Presence) []byte {
	start := len(b)
	b = append(b, `,"presence":{"events":[`...)
	n := 0
	for _, p := range changed {
		if !q.filter.Presence.MatchesPiece("m.presence", p.UserID) {
			continue
		}
		if n > 0 {
			b = append(b, ',')
		}
		n++
		b = append(b, `{"type":"m.presence","sender":`...)
		b = appendJSON(b, p.UserID)
		b = append(b, `,"content":{"presence":"`...)
		b = append(append(b, p.State...), `","currently_active":`...)
		b = strconv.AppendBool(b, p.State == "online")
		b = append(b, `,"last_active_ago":`...)
		b = strconv.AppendInt(b, max(0, q.now.UnixMilli()-p.LastActiveTS), 10)
		if p.StatusMsg != "" {
			b = appendJSON(append(b, `,"status_msg":`...), p.StatusMsg)
		}
		b = append(b, `}}`...)
	}
	if n == 0 {
		return b[:start]
	}
	return append(b, `]}`...)
}

// appendJSON appends a string as JSON.
func appendJSON(b []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string always marshals
	return append(b, quoted...)
}
