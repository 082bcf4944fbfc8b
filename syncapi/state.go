package syncapi

import (
	"context"
	"slices"

	"hearth/roomserver"
	"hearth/storage"
)

// stateOf picks the events of a joined room's state block: the whole state for a
// room that is new to the client, and otherwise what changed between the token
// and the timeline or, with state_after, of the room's current state until its end.
func (q *request) stateOf(ctx context.Context, m *moment, s *roomShot, t *timeline) ([]int64, error) {
	f := &q.filter.Room.State
	wanted := map[storage.StateTuple]int64{}
	switch {
	case s.newly || q.fullState:
		q.wholeState(s, t, wanted)
	case q.stateAfter && m.stateChanged != nil:
		for _, tuple := range m.stateChanged[s.room.nid] {
			if e, ok := s.view.State.Get(tuple); ok && (tuple.Type != "m.room.member" || !f.LazyLoadMembers || !s.gotMembers()) {
				wanted[tuple] = e.EventNID
			}
		}
	case s.gotMembers():
		if err := q.judgedAnew(ctx, s, wanted); err != nil {
			return nil, err
		}
	case t.limited || q.stateAfter:
		changes, err := q.stateChanges(ctx, m, s)
		if err != nil {
			return nil, err
		}
		for _, e := range changes {
			if q.stateAfter || e.Place.Before(t.start) {
				wanted[storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}] = e.NID
			}
		}
	}
	if f.LazyLoadMembers {
		q.lazyLoad(s, t, wanted)
	}
	events := make([]int64, 0, len(wanted))
	for _, nid := range wanted {
		events = append(events, nid)
	}
	slices.Sort(events)
	return events, nil
}

// stateChanges lists the room's state events since the token, oldest first: from
// memory if that reaches back so far.
func (q *request) stateChanges(ctx context.Context, m *moment, s *roomShot) ([]*storage.Event, error) {
	since := q.since.Position
	if s.tailFrom > since {
		if s.changes == nil {
			read, err := q.api.db.StateEventsBetween(ctx, s.room.nid, since, m.token.Position)
			if err != nil {
				return nil, err
			}
			s.changes = append([]*storage.Event{}, read...)
		}
		return s.changes, nil
	}
	var changes []*storage.Event
	for _, e := range s.tail[s.firstAfter(since):] {
		if e.event.IsState() {
			changes = append(changes, e.event)
		}
	}
	return changes, nil
}

// wholeState is the state at the timeline's start, or with state_after at its end.
func (q *request) wholeState(s *roomShot, t *timeline, wanted map[storage.StateTuple]int64) {
	lazy := q.filter.Room.State.LazyLoadMembers
	for it := s.view.State.Iterator(); !it.Done(); {
		tuple, e, _ := it.Next()
		if !lazy || tuple.Type != "m.room.member" || tuple.StateKey == q.u.id {
			wanted[tuple] = e.EventNID
		}
	}
	if q.stateAfter {
		return
	}
	for tuple, nid := range t.replaced() {
		if _, ok := wanted[tuple]; !ok && lazy && tuple.Type == "m.room.member" {
			continue
		}
		if nid == 0 {
			delete(wanted, tuple)
			continue
		}
		wanted[tuple] = nid
	}
}

// lazyLoad adds the members that the timeline's senders need and drops those that
// the client has.
//
// https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
func (q *request) lazyLoad(s *roomShot, t *timeline, wanted map[storage.StateTuple]int64) {
	inTimeline := map[string]bool{}
	var replaced map[storage.StateTuple]int64
	if !q.stateAfter {
		replaced = t.replaced()
	}
	need := func(userID string) {
		tuple := storage.StateTuple{Type: "m.room.member", StateKey: userID}
		if _, ok := wanted[tuple]; ok || inTimeline[userID] {
			return
		}
		inTimeline[userID] = true
		nid, changed := replaced[tuple]
		if !changed {
			e, _ := s.view.State.Get(tuple)
			nid = e.EventNID
		}
		if nid == 0 {
			return
		}
		if q.sent.add(s.room.nid, userID, nid) || q.filter.Room.State.IncludeRedundantMembers {
			wanted[tuple] = nid
		}
	}
	for _, e := range t.entries {
		need(e.event.Sender)
	}
	if (s.newly || q.fullState) && nameless(&s.view.Summary) {
		for _, hero := range s.view.Heroes(q.u.id) {
			need(hero)
		}
	}
}

// nameless reports whether a room is to be named after its members.
func nameless(s *storage.RoomSummary) bool { return s.Name == "" && s.CanonicalAlias == "" }

// stateEvents loads the events of all rooms' state blocks in one batch.
func (q *request) stateEvents(ctx context.Context, byRoom map[int64][]int64) (map[int64]*storage.Event, *roomserver.Related, error) {
	var all []int64
	for _, nids := range byRoom {
		all = append(all, nids...)
	}
	if len(all) == 0 {
		return nil, nil, nil
	}
	events, err := q.api.rooms.Events(ctx, all)
	if err != nil {
		return nil, nil, err
	}
	list := make([]*storage.Event, 0, len(events))
	for _, e := range events {
		list = append(list, e)
	}
	related, err := q.api.rooms.Related(ctx, list)
	return events, related, err
}
