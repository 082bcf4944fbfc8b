package syncapi

import (
	"context"
	"errors"
	"slices"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
	"hearth/storage"
)

// maxWatched bounds the members of rooms without encryption of whom the user is told
// when they come into sight.
const maxWatched = 1000

// watches reports whether the user is told who comes into their sight in the room.
// Devices matter in encrypted rooms; of the others those are left out in which it would
// be very many, and whose members clients ask for when a room becomes encrypted.
func watches(v *roomserver.View) bool {
	return v.Summary.Encryption != "" || v.Summary.JoinedMembers <= maxWatched
}

// movements is who came into the user's sight or left it since the token.
type movements struct {
	// gone are those who were in a room with the user that the user has left.
	gone map[string]bool
	// joined and left are the member events in whose places others came first, by user: of
	// those who are in a room by now, or no longer. What they did depends on what they were
	// before.
	joined, left map[string][]int64
}

// membersInSight adds who came into or left the user's sight since the token: through
// rooms that the user or they have joined or left, whether the client is shown them or not.
func (q *request) membersInSight(ctx context.Context, m *moment) error {
	if q.initial {
		return nil
	}
	moved := &movements{gone: map[string]bool{}, joined: map[string][]int64{}, left: map[string][]int64{}}
	for _, s := range slices.Concat(m.joined, m.unshown) {
		if !watches(s.view) {
			continue
		}
		if s.newly {
			if s.view.Summary.Encryption != "" {
				m.devices.add(q.u.id) // shares the room with their own other devices too
			}
			q.everyMember(s.view.State, m.came)
			continue
		}
		if err := q.membersMoved(ctx, m, s, moved); err != nil {
			return err
		}
	}
	for _, o := range slices.Concat(m.others, m.unshownOthers) {
		if err := q.sharedBefore(ctx, o, watches, func(id string) { moved.gone[id] = true }); err != nil {
			return err
		}
	}
	return q.settle(ctx, m, moved)
}

// came notes that somebody came into the user's sight.
func (m *moment) came(userID string) {
	m.devices.add(userID)
	if m.newcomers == nil {
		m.newcomers = map[string]bool{}
	}
	m.newcomers[userID] = true
}

func (q *request) everyMember(state storage.StateMap, do func(userID string)) {
	for it := state.Iterator(); !it.Done(); {
		t, e, _ := it.Next()
		if t.Type == "m.room.member" && e.Membership == "join" && t.StateKey != q.u.id {
			do(t.StateKey)
		}
	}
}

// membersMoved looks at the member events of a room since the token.
func (q *request) membersMoved(ctx context.Context, m *moment, s *roomShot, moved *movements) error {
	if s.latest <= q.since.Position {
		return nil
	}
	events, err := q.stateChanges(ctx, m, s)
	if err != nil {
		return err
	}
	first := map[string]int64{}
	for _, e := range events {
		if e.Type != "m.room.member" || *e.StateKey == q.u.id {
			continue
		}
		if _, again := first[*e.StateKey]; !again {
			first[*e.StateKey] = e.ReplacesNID
		}
		if !isJoin(e) { // who was away meanwhile comes anew
			first[*e.StateKey] = -max(first[*e.StateKey], -first[*e.StateKey])
		}
	}
	for id, replaced := range first {
		if s.view.Membership(id) == "join" {
			moved.joined[id] = append(moved.joined[id], replaced)
		} else {
			moved.left[id] = append(moved.left[id], max(replaced, -replaced))
		}
	}
	return nil
}

func isJoin(e *storage.Event) bool {
	return e != nil && gjson.GetBytes(e.JSON, "content.membership").Str == "join"
}

// sharedBefore calls do for everybody with whom the user shared a room, as of the token, that
// they have left. Who wasn't in it isn't told who is.
func (q *request) sharedBefore(ctx context.Context, o storage.Membership, wanted func(*roomserver.View) bool, do func(userID string)) error {
	if o.Membership != "leave" && o.Membership != "ban" || o.Position <= q.since.Position {
		return nil
	}
	v, err := q.api.rooms.View(ctx, o.RoomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) || err == nil && !wanted(v) {
		return nil
	}
	if err != nil {
		return err
	}
	since := storage.Place{Position: q.since.Position}
	vis, err := q.api.rooms.Visibility(ctx, v, q.u.id)
	if err != nil || vis.MembershipAt(since) != "join" {
		return err
	}
	state, err := q.api.rooms.StateAtPosition(ctx, o.RoomNID, storage.Place{Position: since.Position + 1})
	if err != nil {
		return err
	}
	q.everyMember(state, do)
	return nil
}

// settle finds out who has come, and who shares no room with the user any more who did.
func (q *request) settle(ctx context.Context, m *moment, moved *movements) error {
	var nids []int64
	for _, lists := range []map[string][]int64{moved.joined, moved.left} {
		for _, list := range lists {
			nids = append(nids, list...)
		}
	}
	before, err := q.api.rooms.Events(ctx, slices.DeleteFunc(nids, func(nid int64) bool { return nid <= 0 }))
	if err != nil {
		return err
	}
	wasIn := func(nid int64) bool { return isJoin(before[nid]) }
	for id, list := range moved.joined {
		if slices.ContainsFunc(list, func(nid int64) bool { return !wasIn(nid) }) {
			m.came(id)
		}
	}
	for id, list := range moved.left {
		if slices.ContainsFunc(list, wasIn) {
			moved.gone[id] = true
		}
	}
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	for id := range moved.gone {
		if !q.shares(id) {
			if m.devices.left == nil {
				m.devices.left = map[string]bool{}
			}
			m.devices.left[id] = true
			delete(m.devices.changed, id)
		}
	}
	return nil
}
