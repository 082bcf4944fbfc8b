package syncapi

import (
	"context"
	"slices"

	"github.com/benbjohnson/immutable"

	"hearth/storage"
)

var (
	nameTuple   = storage.StateTuple{Type: "m.room.name"}
	avatarTuple = storage.StateTuple{Type: "m.room.avatar"}
)

// pickState picks the state that a room is told with: of a room that is new to the client
// what it wants, and otherwise what of that has changed, or wasn't wanted before.
func (q *slide) pickState(l *roomLook, state storage.StateMap, changed []storage.StateTuple) {
	wanted := map[storage.StateTuple]int64{}
	take := func(t storage.StateTuple, e storage.StateEntry) { wanted[t] = e.EventNID }
	if l.initial {
		l.rules.pick(state, take)
	} else {
		q.pickChanged(l, state, changed, take)
		if before := l.told.rules; before.id != l.rules.id {
			l.rules.pick(state, func(t storage.StateTuple, e storage.StateEntry) {
				if !before.wants(t) && !l.told.hasMember(t, e) {
					take(t, e)
				}
			})
		}
	}
	if l.rules.lazy {
		q.pickMembers(l, state, wanted)
	}
	for _, nid := range wanted {
		l.state = append(l.state, nid)
	}
	slices.Sort(l.state)
	if l.initial || l.nameChanged {
		e, _ := state.Get(nameTuple)
		l.name = e.EventNID
	}
	if l.initial || l.avatarChanged {
		e, _ := state.Get(avatarTuple)
		l.avatar = e.EventNID
	}
	if l.membership.Membership == "join" && (l.initial || l.membersChanged || l.nameChanged) && l.shot.view.Summary.Name == "" {
		l.heroes = l.shot.view.Heroes(q.u.id)
	}
}

// pickChanged picks what has changed. All members that have are told, needed or not, as
// long as the client can follow the timeline without a gap: so it may keep a list of them.
// That isn't so when all of them become known that were there before.
func (q *slide) pickChanged(l *roomLook, state storage.StateMap, changed []storage.StateTuple, take func(storage.StateTuple, storage.StateEntry)) {
	gap := l.timeline != nil && l.timeline.limited || l.shot.gotMembers()
	for _, t := range changed {
		switch {
		case t.Type == "m.room.member":
			l.membersChanged = true
		case t == nameTuple:
			l.nameChanged = true
		case t == avatarTuple:
			l.avatarChanged = true
		}
		if !l.rules.wants(t) && (gap || !l.rules.lazy || t.Type != "m.room.member") {
			continue
		}
		if e, ok := state.Get(t); ok {
			take(t, e)
		} else if q.wire.accepted && !slices.Contains(l.removed, t) {
			l.removed = append(l.removed, t)
		}
	}
}

// pickMembers picks the members that the timeline needs and that the client doesn't have.
func (q *slide) pickMembers(l *roomLook, state storage.StateMap, wanted map[storage.StateTuple]int64) {
	need := func(userID string) {
		t := storage.StateTuple{Type: "m.room.member", StateKey: userID}
		if e, ok := state.Get(t); ok && (l.initial || !l.told.hasMember(t, e)) {
			wanted[t] = e.EventNID
		}
	}
	if l.timeline != nil {
		for _, e := range l.timeline.entries {
			need(e.event.Sender)
			if e.event.IsState() && e.event.Type == "m.room.member" {
				need(*e.event.StateKey)
			}
		}
	}
	l.members = map[string]int64{}
	for t, nid := range wanted {
		if t.Type == "m.room.member" {
			l.members[t.StateKey] = nid
		}
	}
}

// noteMembers adds the members that are told to those that were.
func (q *slide) noteMembers(l *roomLook, have *immutable.Map[string, int64]) *immutable.Map[string, int64] {
	if !l.rules.lazy {
		return nil // who wants them later is told them anew
	}
	if have == nil || have.Len()+len(l.members) > maxLazyMembers {
		have = immutable.NewMap[string, int64](nil)
	}
	for userID, nid := range l.members {
		have = have.Set(userID, nid)
	}
	return have
}

// loadEvents reads the events that are told of, and what belongs to them.
func (q *slide) loadEvents(ctx context.Context, v *overview) error {
	byRoom := map[int64][]int64{}
	var shown []*storage.Event
	var parts []*part
	for _, l := range v.looks {
		nids := slices.Clone(l.state)
		for _, nid := range []int64{l.name, l.avatar} {
			if nid != 0 {
				nids = append(nids, nid)
			}
		}
		for _, id := range l.heroes {
			if e, ok := l.shot.view.Entry("m.room.member", id); ok {
				nids = append(nids, e.EventNID)
			}
		}
		byRoom[l.membership.RoomNID] = nids
		if l.timeline == nil {
			continue
		}
		parts = append(parts, &part{roomShot: l.shot, timeline: l.timeline})
		for _, e := range l.timeline.entries {
			if e.rendered.Load() == nil {
				shown = append(shown, e.event)
			}
		}
	}
	var err error
	if v.events, v.stateRelated, err = q.stateEvents(ctx, byRoom); err != nil {
		return err
	}
	if v.related, err = q.api.rooms.Related(ctx, shown); err != nil {
		return err
	}
	return q.bundle(ctx, parts)
}
