package syncapi

import (
	"context"
	"strconv"

	"hearth/roomserver"
	"hearth/storage"
)

// appendRooms appends the rooms; nothing at all if there is nothing new in any.
func (q *request) appendRooms(ctx context.Context, b []byte, m *moment, parts []*part) ([]byte, error) {
	start := len(b)
	b = append(b, `,"rooms":{`...)
	first := len(b)
	b, err := q.appendJoined(ctx, b, parts)
	if err != nil {
		return nil, err
	}
	if b, err = q.appendOthers(ctx, b, m); err != nil {
		return nil, err
	}
	if len(b) == first {
		return b[:start], nil
	}
	return append(b, '}'), nil
}

// appendSection opens a section of rooms, has body fill it, and takes it back if
// nothing came.
func appendSection(b []byte, name string, body func(b []byte) ([]byte, error)) ([]byte, error) {
	start := len(b)
	if b[len(b)-1] == '}' {
		b = append(b, ',')
	}
	b = append(append(append(b, '"'), name...), `":{`...)
	open := len(b)
	b, err := body(b)
	if err != nil || len(b) == open {
		return b[:min(start, len(b))], err
	}
	return append(b, '}'), nil
}

func (q *request) appendJoined(ctx context.Context, b []byte, parts []*part) ([]byte, error) {
	byRoom := map[int64][]int64{}
	var shown []*storage.Event
	for _, p := range parts {
		byRoom[p.room.nid] = p.state
		shown = append(shown, p.sticky...)
		for _, e := range p.timeline.entries {
			if e.rendered.Load() == nil {
				shown = append(shown, e.event)
			}
		}
	}
	state, stateRelated, err := q.stateEvents(ctx, byRoom)
	if err != nil {
		return nil, err
	}
	related, err := q.api.rooms.Related(ctx, shown)
	if err != nil {
		return nil, err
	}
	if err := q.bundle(ctx, parts); err != nil {
		return nil, err
	}
	return appendSection(b, "join", func(b []byte) ([]byte, error) {
		n := 0
		for _, p := range parts {
			if !q.worthShowing(p) {
				continue
			}
			if n > 0 {
				b = append(b, ',')
			}
			n++
			b = append(appendJSON(b, p.room.id), ':')
			b = q.appendRoom(b, p, state, stateRelated, related)
		}
		return b, nil
	})
}

// bundle reads what relates to the events that are shown, in one go for all rooms.
func (q *request) bundle(ctx context.Context, parts []*part) error {
	var related []*storage.Event
	visible := map[int64]*roomserver.Visibility{}
	for _, p := range parts {
		for _, e := range p.timeline.entries {
			if e.related.Load() && p.vis.MayBundle() {
				related = append(related, e.event)
				visible[p.room.nid] = p.vis
			}
		}
	}
	if len(related) == 0 {
		return nil
	}
	var err error
	q.bundles, err = q.api.rooms.Bundle(ctx, related, q.u.id, func(e *storage.Event) bool {
		vis := visible[e.RoomNID]
		return vis != nil && vis.CanSee(e)
	})
	return err
}

// worthShowing reports whether there is anything new in the room.
func (q *request) worthShowing(p *part) bool {
	return p.newly || q.fullState || p.gotMembers() || len(p.timeline.entries) > 0 || p.timeline.limited || len(p.state) > 0 ||
		q.showsTyping(p.roomShot) || len(p.data) > 0 || len(p.sticky) > 0 || len(q.visibleReceipts(p.roomShot)) > 0
}

func (q *request) appendRoom(b []byte, p *part, state map[int64]*storage.Event, stateRelated, related *roomserver.Related) []byte {
	b = append(b, `{"timeline":{"events":[`...)
	for i, e := range p.timeline.entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = q.appendEntry(b, e, related, p.vis)
	}
	b = append(b, `],"limited":`...)
	b = strconv.AppendBool(b, p.timeline.limited)
	b = append(p.timeline.prev.Append(append(b, `,"prev_batch":"`...)), `"},"`...)
	b = append(append(b, q.stateName...), `":{"events":[`...)
	b = q.appendStateEvents(b, p.state, state, stateRelated)
	b = q.appendSticky(append(b, `]}`...), p, related)
	b = q.appendUnread(b, p.unread)
	b = q.appendSummary(b, p, state)
	b = q.appendEphemeral(b, p.roomShot)
	return append(q.appendRoomData(b, p.roomShot), '}')
}

// appendEntry appends an event of a timeline, rendered once for all readers.
func (q *request) appendEntry(b []byte, e *entry, related *roomserver.Related, vis *roomserver.Visibility) []byte {
	r := e.rendered.Load()
	if r == nil {
		rendered := roomserver.Render(e.event, related)
		r = &rendered
		e.rendered.Store(r)
	}
	to := roomserver.Reader{UserID: q.u.id, DeviceID: q.requester.DeviceID, Now: q.now.UnixMilli(), Bundles: q.bundles}
	if vis != nil {
		to.Membership = vis.MembershipAt(e.event.Place)
	}
	return q.appendFormatted(b, e.event, func(b []byte) []byte { return r.Append(b, e.event, to) })
}

// appendFormatted appends an event in the format that the filter asks for.
func (q *request) appendFormatted(b []byte, e *storage.Event, client func([]byte) []byte) []byte {
	if q.filter.EventFormat == "federation" {
		return append(b, q.filter.Fields(e.JSON)...)
	}
	if len(q.filter.EventFields) == 0 {
		return client(b)
	}
	return append(b, q.filter.Fields(client(nil))...)
}

func (q *request) appendStateEvents(b []byte, nids []int64, events map[int64]*storage.Event, related *roomserver.Related) []byte {
	n := 0
	to := roomserver.Reader{UserID: q.u.id, DeviceID: q.requester.DeviceID, Now: q.now.UnixMilli()}
	for _, nid := range nids {
		e := events[nid]
		if e == nil || !q.filter.Room.State.Matches(e) {
			continue
		}
		if n > 0 {
			b = append(b, ',')
		}
		n++
		b = q.appendFormatted(b, e, func(b []byte) []byte { return roomserver.AppendClientEvent(b, e, related, to) })
	}
	return b
}

// appendSummary tells who is in the room, when that may have changed.
func (q *request) appendSummary(b []byte, p *part, state map[int64]*storage.Event) []byte {
	changed := p.newly || q.fullState || p.gotMembers()
	for _, e := range p.timeline.entries {
		changed = changed || e.event.Type == "m.room.member"
	}
	for _, nid := range p.state {
		changed = changed || state[nid] != nil && state[nid].Type == "m.room.member"
	}
	if !changed {
		return b
	}
	b = append(b, `,"summary":{"m.joined_member_count":`...)
	b = strconv.AppendInt(b, int64(p.view.Summary.JoinedMembers), 10)
	b = append(b, `,"m.invited_member_count":`...)
	b = strconv.AppendInt(b, int64(p.view.Summary.InvitedMembers), 10)
	if nameless(&p.view.Summary) {
		b = append(b, `,"m.heroes":[`...)
		for i, id := range p.view.Heroes(q.u.id) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, id)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// visibleReceipts are those the client is told of: everyone's public ones and the
// user's own private ones.
func (q *request) visibleReceipts(s *roomShot) []storage.Receipt {
	if f := &q.filter.Room.Ephemeral; !f.MatchesRoom(s.room.id) || !f.MatchesType("m.receipt") {
		return nil
	}
	visible := s.receipts[:0:0]
	for _, r := range s.receipts {
		if q.mayTell(&r) {
			visible = append(visible, r)
		}
	}
	return visible
}

// showsTyping reports whether the client is told who is typing.
func (q *request) showsTyping(s *roomShot) bool {
	f := &q.filter.Room.Ephemeral
	return s.typingNews && f.MatchesRoom(s.room.id) && f.MatchesType("m.typing")
}

func (q *request) appendEphemeral(b []byte, s *roomShot) []byte {
	receipts := q.visibleReceipts(s)
	typing := q.showsTyping(s)
	if !typing && len(receipts) == 0 && !s.newly {
		return b
	}
	b = append(b, `,"ephemeral":{"events":[`...)
	if typing {
		b = appendTyping(b, s.typing)
	}
	if len(receipts) > 0 {
		if typing {
			b = append(b, ',')
		}
		b = appendReceipts(b, receipts)
	}
	return append(b, `]}`...)
}

// appendTyping appends who is typing as an m.typing event.
//
// https://spec.matrix.org/v1.19/client-server-api/#mtyping
func appendTyping(b []byte, typing []string) []byte {
	b = append(b, `{"type":"m.typing","content":{"user_ids":[`...)
	for _, id := range typing {
		b = appendJSON(comma(b), id)
	}
	return append(b, `]}}`...)
}
