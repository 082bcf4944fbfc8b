package syncapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"hearth/internal/token"
	"hearth/roomserver"
	"hearth/storage"
)

// appendOthers appends the rooms that the user isn't in: each in exactly one
// section.
func (q *request) appendOthers(ctx context.Context, b []byte, m *moment) ([]byte, error) {
	var err error
	for _, section := range []struct{ membership, name, state string }{
		{"invite", "invite", "invite_state"}, {"knock", "knock", "knock_state"},
	} {
		b, err = appendSection(b, section.name, func(b []byte) ([]byte, error) {
			for _, o := range m.others {
				if o.Membership != section.membership {
					continue
				}
				if b, err = q.appendStripped(ctx, b, o, section.state); err != nil {
					return nil, err
				}
			}
			return b, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return appendSection(b, "leave", func(b []byte) ([]byte, error) {
		for _, o := range m.others {
			if o.Membership != "leave" && o.Membership != "ban" || !q.showsLeft(o) {
				continue
			}
			if b, err = q.appendLeft(ctx, b, o); err != nil {
				return nil, err
			}
		}
		return b, nil
	})
}

// showsLeft reports whether a room that was left is shown: when that is news, even if
// the room was forgotten at once, since the user's other devices must learn of it. Without
// a token that is what others did to the user; the rooms that they left by themselves
// come only if the filter asks for archived ones.
func (q *request) showsLeft(o storage.Membership) bool {
	switch {
	case !q.initial && o.Position > q.since.Position:
		return true
	case o.Forgotten:
		return false
	case q.initial && o.Sender != q.u.id:
		return true
	}
	return q.filter.Room.IncludeLeave && (q.initial || q.fullState)
}

func comma(b []byte) []byte {
	if b[len(b)-1] != '{' && b[len(b)-1] != '[' {
		b = append(b, ',')
	}
	return b
}

// strippedState is what an invitation, or asking for one, comes with.
func (q *request) strippedState(ctx context.Context, o storage.Membership) ([]json.RawMessage, error) {
	events, err := q.api.rooms.StrippedState(ctx, o.RoomID, o.Sender)
	if err != nil {
		return nil, err
	}
	if o.Sender != q.u.id {
		own, err := q.api.rooms.StrippedMember(ctx, o.RoomID, q.u.id)
		if err != nil {
			return nil, err
		}
		if own != nil {
			events = append(events, own)
		}
	}
	given, err := q.givenState(ctx, o)
	return append(given, events...), err
}

func (q *request) appendStripped(ctx context.Context, b []byte, o storage.Membership, name string) ([]byte, error) {
	events, err := q.strippedState(ctx, o)
	if err != nil {
		return nil, err
	}
	b = append(appendJSON(comma(b), o.RoomID), `:{"`...)
	b = append(append(b, name...), `":{"events":[`...)
	for _, e := range events {
		b = append(comma(b), e...)
	}
	return append(b, `]}}`...), nil
}

// givenState is the state that came with an invitation to a room that this server
// isn't in.
func (q *request) givenState(ctx context.Context, o storage.Membership) ([]json.RawMessage, error) {
	remote, err := q.api.rooms.Remote(ctx, o.RoomID)
	if err != nil || !remote {
		return nil, err
	}
	text, err := q.api.db.GetInviteState(ctx, o.RoomNID, q.u.id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var given []json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return nil, fmt.Errorf("reading an invitation's state: %w", err)
	}
	return given, nil
}

// appendLeft shows a room up to where the user left it, and nothing after.
func (q *request) appendLeft(ctx context.Context, b []byte, o storage.Membership) ([]byte, error) {
	v, err := q.api.rooms.View(ctx, o.RoomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	vis, err := q.api.rooms.Visibility(ctx, v, q.u.id)
	if err != nil {
		return nil, err
	}
	s := &roomShot{room: &room{nid: o.RoomNID, id: o.RoomID}, view: v, vis: vis, membership: o,
		since: q.since.Position, limit: q.limit()}
	// Who was in the room meanwhile knows nothing of it; who declined an invitation, or wasn't
	// let in, is told of nothing but that.
	since := storage.Place{Position: q.since.Position}
	s.newly = q.initial || vis.MembershipAt(since) != "join" && vis.JoinedAfter(since)
	t, err := q.timelineOfLeft(ctx, s)
	if err != nil {
		return nil, err
	}
	p := &part{roomShot: s, timeline: t}
	if p.state, err = q.stateOfLeft(ctx, s, t); err != nil {
		return nil, err
	}
	state, stateRelated, err := q.stateEvents(ctx, map[int64][]int64{o.RoomNID: p.state})
	if err != nil {
		return nil, err
	}
	related, err := q.api.rooms.Related(ctx, eventsOf(t.entries))
	if err != nil {
		return nil, err
	}
	b = append(appendJSON(comma(b), o.RoomID), ':')
	return q.appendLeftRoom(b, p, state, stateRelated, related), nil
}

// timelineOfLeft is the timeline of a room that was left, up to there.
func (q *request) timelineOfLeft(ctx context.Context, s *roomShot) (t *timeline, err error) {
	s.tailFrom = s.membership.Position
	t = &timeline{start: storage.Place{Position: s.tailFrom + 1}}
	if t.entries, t.limited, err = q.readOlder(ctx, s, s.from(), s.limit); err != nil {
		return nil, err
	}
	if len(t.entries) > 0 {
		t.start = t.entries[0].event.Place
	}
	t.prev = token.Before(t.start)
	return t, nil
}

func eventsOf(entries []*entry) []*storage.Event {
	events := make([]*storage.Event, len(entries))
	for i, e := range entries {
		events[i] = e.event
	}
	return events
}

// stateOfLeft is the state block of a room that was left: as it was at the
// timeline's start, or what changed since the token. Who was never in the room
// (an invitation was rejected, say) is shown none but, after the timeline, their own.
func (q *request) stateOfLeft(ctx context.Context, s *roomShot, t *timeline) ([]int64, error) {
	state, err := q.api.rooms.ReadableState(ctx, s.view, q.u.id)
	if err != nil {
		return nil, err
	}
	own := storage.StateTuple{Type: "m.room.member", StateKey: q.u.id}
	end, ok := s.view.State.Get(own)
	if ok = ok && q.stateAfter && end.Membership == s.membership.Membership; state == nil {
		if ok {
			return []int64{end.EventNID}, nil
		}
		return nil, nil
	}
	if ok {
		state = state.Set(own, end)
	}
	s.view = &roomserver.View{Room: s.view.Room, State: state, Summary: s.view.Summary}
	if !s.newly && !q.fullState && (t.limited || q.stateAfter) {
		if err := q.readSeenChanges(ctx, s); err != nil {
			return nil, err
		}
	}
	left := &moment{token: token.SyncAt(s.membership.Position, 0)}
	return q.stateOf(ctx, left, s, t)
}

// readSeenChanges reads what has changed of the state of a room that was left since the token,
// but for what came to pass while the user wasn't there.
func (q *request) readSeenChanges(ctx context.Context, s *roomShot) error {
	changes, err := q.api.db.StateEventsBetween(ctx, s.room.nid, s.since, s.membership.Position)
	if err != nil {
		return err
	}
	s.changes = []*storage.Event{} // read, even if there are none
	for _, e := range changes {
		if s.vis.CanSee(e) {
			s.changes = append(s.changes, e)
		}
	}
	return nil
}

func (q *request) appendLeftRoom(b []byte, p *part, state map[int64]*storage.Event, stateRelated, related *roomserver.Related) []byte {
	b = append(b, `{"timeline":{"events":[`...)
	for _, e := range p.timeline.entries {
		b = q.appendEntry(comma(b), e, related, p.vis)
	}
	b = append(b, `],"limited":`...)
	if p.timeline.limited {
		b = append(b, `true,"prev_batch":"`...)
	} else {
		b = append(b, `false,"prev_batch":"`...)
	}
	b = append(p.timeline.prev.Append(b), `"},"`...)
	b = append(append(b, q.stateName...), `":{"events":[`...)
	b = q.appendStateEvents(b, p.state, state, stateRelated)
	return append(b, `]}}`...)
}
