package syncapi

import (
	"context"
	"maps"
	"slices"
	"sort"

	"hearth/roomserver"
	"hearth/storage"
)

// extendE2EE finds out whose devices changed, and what the device has in stock. Unlike
// /sync it doesn't have the rooms of the user in memory, and asks the database who shares
// one of them.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3884
func (q *slide) extendE2EE(ctx context.Context, v *overview, x *extended) error {
	var err error
	if x.keys, err = q.api.db.GetKeyCounts(ctx, q.u.id, q.requester.DeviceID); err != nil || q.initial {
		return err
	}
	changed, err := q.changedDevices(ctx, v)
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	if err := q.movedMembers(ctx, x, changed, gone); err != nil {
		return err
	}
	if len(changed)+len(gone) == 0 {
		return nil
	}
	ids := slices.AppendSeq(slices.Collect(maps.Keys(changed)), maps.Keys(gone))
	list, err := q.api.db.WhoShares(ctx, q.u.id, ids)
	shares := map[string]bool{q.u.id: true}
	for _, id := range list {
		shares[id] = true
	}
	for id := range changed {
		if shares[id] {
			x.devices.add(id)
		}
	}
	for id := range gone {
		if !shares[id] {
			if x.devices.left == nil {
				x.devices.left = map[string]bool{}
			}
			x.devices.left[id] = true
			delete(x.devices.changed, id)
		}
	}
	return err
}

// changedDevices are those whose devices changed, whoever they are.
func (q *slide) changedDevices(ctx context.Context, v *overview) (map[string]bool, error) {
	changed := map[string]bool{}
	h := q.api.hub
	h.mu.RLock()
	from, log := h.deviceLogFrom, h.deviceLog
	h.mu.RUnlock()
	if q.pos.devices < from {
		read, err := q.api.db.DeviceListsChanged(ctx, q.pos.devices, v.devices)
		for _, id := range read {
			changed[id] = true
		}
		return changed, err
	}
	for i := sort.Search(len(log), func(i int) bool { return log[i].position > q.pos.devices }); i < len(log) && log[i].position <= v.devices; i++ {
		changed[log[i].userID] = true
	}
	return changed, nil
}

// movedMembers finds who came into or left the user's sight: through encrypted rooms that
// the user or they have joined or left.
func (q *slide) movedMembers(ctx context.Context, x *extended, changed, gone map[string]bool) error {
	own, moved, err := q.memberChanges(ctx)
	if err != nil {
		return err
	}
	for id, membership := range moved {
		if id == q.u.id {
			continue
		}
		switch membership {
		case "join":
			changed[id] = true
		case "leave", "ban": // the others were not in
			gone[id] = true
		}
	}
	encrypted := func(v *roomserver.View) bool { return v.Summary.Encryption != "" }
	for _, m := range own {
		if m.Membership != "join" {
			if err := q.sharedBefore(ctx, m, encrypted, func(id string) { gone[id] = true }); err != nil {
				return err
			}
			continue
		}
		v, err := q.api.rooms.View(ctx, m.RoomID)
		if err != nil {
			return err
		}
		if !encrypted(v) {
			continue
		}
		vis, err := q.api.rooms.Visibility(ctx, v, q.u.id)
		if err != nil {
			return err
		}
		if vis.MembershipAt(storage.Place{Position: q.pos.position}) != "join" {
			q.everyMember(v.State, x.devices.add)
		}
	}
	return nil
}

// memberChanges returns the rooms that the user has joined or left since, and what became
// of the members of other encrypted rooms.
func (q *slide) memberChanges(ctx context.Context) (own []storage.Membership, moved map[string]string, err error) {
	moved = map[string]string{}
	missing := map[int64]storage.Position{}
	var unknown []int64
	h, since := q.api.hub, q.pos.position
	h.mu.RLock()
	for nid, m := range q.u.memberships {
		if m.Position > since && m.Membership != "invite" && m.Membership != "knock" {
			own = append(own, m)
		}
		r := h.rooms[nid]
		if m.Membership != "join" {
			continue
		}
		log, ok := r.stateSince(since)
		if !ok {
			missing[nid] = since
			continue
		}
		log = slices.DeleteFunc(slices.Clone(log), func(c stateChange) bool { return c.Type != "m.room.member" })
		switch {
		case len(log) == 0:
		case r.outline == nil:
			unknown = append(unknown, nid)
		case r.outline.encryption != "":
			for _, c := range log {
				moved[c.StateKey] = c.membership
			}
		}
	}
	h.mu.RUnlock()
	if len(unknown) > 0 {
		if err := q.api.loadOutlines(ctx, q.u, unknown); err != nil {
			return nil, nil, err
		}
		return q.memberChanges(ctx)
	}
	if len(missing) > 0 {
		read, err := q.api.db.EncryptedMembersSince(ctx, missing)
		maps.Copy(moved, read)
		return own, moved, err
	}
	return own, moved, nil
}
