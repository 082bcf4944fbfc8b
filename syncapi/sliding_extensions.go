package syncapi

import (
	"context"
	"slices"
	"sort"

	"hearth/internal/token"
	"hearth/push"
	"hearth/roomserver"
	"hearth/storage"
)

// extended is what the extensions tell.
type extended struct {
	toDevice storage.Position
	messages []storage.ToDevice
	keys     storage.KeyCounts
	devices  deviceLists
	global   []storage.AccountData
	roomData map[string][]storage.AccountData
	receipts map[string][]storage.Receipt
	typing   map[string][]string
	threads  *push.Subscriptions // nil for nothing
	sticky   map[string][]*storage.Event
	// stickyUpTo is up to where sticky events are told.
	stickyUpTo    storage.Position
	stickyRelated *roomserver.Related
}

func (x *extended) empty() bool {
	return len(x.messages)+len(x.global)+len(x.roomData)+len(x.receipts)+len(x.typing)+len(x.sticky) == 0 && x.threads == nil && x.devices.empty()
}

// maxSlidingMessages bounds the messages to the device in one answer.
const maxSlidingMessages = 100

// extend collects what the extensions tell that the client asks for.
func (q *slide) extend(ctx context.Context, v *overview) (*extended, error) {
	x, wants := &extended{}, &q.params.extensions
	for _, part := range []struct {
		wanted bool
		load   func(context.Context, *overview, *extended) error
	}{
		{wants.ToDevice.Enabled, q.extendToDevice}, {wants.E2EE.Enabled, q.extendE2EE}, {wants.AccountData.Enabled, q.extendAccountData},
		{wants.Receipts.Enabled, q.extendReceipts}, {wants.Typing.Enabled, q.extendTyping},
		{wants.Sticky.Enabled, q.extendSticky}, {wants.Threads.Enabled, q.extendThreads},
	} {
		if part.wanted {
			if err := part.load(ctx, v, x); err != nil {
				return nil, err
			}
		}
	}
	return x, nil
}

// covers reports whether the extension is to tell of a room: of those in the lists that it
// names, and of those that were subscribed to.
func (x *extension) covers(w *wantedRoom) bool {
	if x.Lists == nil || slices.Contains(x.Lists, "*") {
		if len(w.lists) > 0 {
			return true
		}
	} else if slices.ContainsFunc(w.lists, func(name string) bool { return slices.Contains(x.Lists, name) }) {
		return true
	}
	if x.Rooms == nil || slices.Contains(x.Rooms, "*") {
		return w.subscribed
	}
	return slices.Contains(x.Rooms, w.membership.RoomID)
}

// covered are the rooms that the extension is to tell of.
func (v *overview) covered(x *extension) (list []*wantedRoom) {
	for _, w := range v.rooms {
		if x.covers(w) {
			list = append(list, w)
		}
	}
	return list
}

// known is what the client knows of the room after the answer; with change it may be
// changed.
func (v *overview) known(w *wantedRoom, change bool) *toldRoom {
	t := v.told[w.membership.RoomNID]
	if t == nil && change {
		same := *w.told
		t = &same
		v.told[w.membership.RoomNID] = t
	}
	if t == nil {
		return w.told
	}
	return t
}

// extendToDevice reads the messages to the device, and removes those that it has received.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3885
func (q *slide) extendToDevice(ctx context.Context, v *overview, x *extended) error {
	q.api.hub.mu.RLock()
	waiting := q.mayHaveMessages()
	q.api.hub.mu.RUnlock()
	if x.toDevice = max(v.position, q.toDevice); !waiting {
		return nil
	}
	id, db := q.requester.DeviceID, q.api.db
	if q.toDevice > 0 {
		if err := db.DeleteToDevice(ctx, q.u.id, id, q.toDevice); err != nil {
			return err
		}
	}
	limit := maxSlidingMessages
	if l := q.params.extensions.ToDevice.Limit; l != nil {
		limit = max(1, min(*l, maxSlidingMessages))
	}
	var err error
	x.messages, err = db.ListToDevice(ctx, q.u.id, id, q.toDevice, v.position, limit)
	if len(x.messages) == limit {
		x.toDevice = x.messages[limit-1].Position
	}
	return err
}

// extendAccountData reads what of the user's account data is new: all of it of rooms that
// the client hears of for the first time.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3959
func (q *slide) extendAccountData(ctx context.Context, v *overview, x *extended) error {
	after := map[string]storage.Position{}
	covered := v.covered(&q.params.extensions.AccountData)
	q.api.hub.mu.RLock()
	if q.initial || q.u.accountData > q.pos.position {
		after[""] = q.pos.position
	}
	for _, w := range covered {
		if t := v.known(w, false); q.u.roomData[w.membership.RoomID].newest > t.data {
			after[w.membership.RoomID] = t.data
			v.known(w, true).data = v.position
		}
	}
	q.api.hub.mu.RUnlock()
	if len(after) == 0 {
		return nil
	}
	data, err := q.api.db.RoomDataSince(ctx, q.u.id, after)
	if err != nil {
		return err
	}
	rules := !q.initial
	x.roomData = map[string][]storage.AccountData{}
	for _, d := range data {
		if after[d.RoomID] == 0 && string(d.Content) == deleted {
			continue // who doesn't know it needn't be told that it has gone
		}
		if d.RoomID != "" {
			x.roomData[d.RoomID] = append(x.roomData[d.RoomID], d)
			continue
		}
		if d.Type == "m.push_rules" {
			d.Content, rules = push.Content(q.u.id, d.Content), true
		}
		x.global = append(x.global, d)
	}
	if !rules {
		x.global = append(x.global, storage.AccountData{Type: "m.push_rules", Content: push.DefaultRules(q.u.id)})
	}
	return nil
}

// threadsExtension is the name of the one for subscriptions to threads.
const threadsExtension = "io.element.msc4308.thread_subscriptions"

// maxSlidingThreads bounds the subscriptions to threads in one answer.
const maxSlidingThreads = 100

// extendThreads reads which subscriptions to threads have changed: the last ones, if they are
// many. Who begins is told of those that there are.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4308
func (q *slide) extendThreads(ctx context.Context, v *overview, x *extended) error {
	q.api.hub.mu.RLock()
	changed := q.initial || q.u.threads > q.pos.position
	q.api.hub.mu.RUnlock()
	if !changed {
		return nil
	}
	limit := maxSlidingThreads
	if l := q.params.extensions.Threads.Limit; l != nil {
		limit = max(1, min(*l, maxSlidingThreads))
	}
	list, err := q.api.db.ThreadSubscriptions(ctx, q.u.id, q.pos.position, v.position+1, limit+1)
	if err != nil || len(list) == 0 {
		return err
	}
	more := len(list) > limit
	list = list[:min(limit, len(list))]
	last := list[len(list)-1].Position
	if q.initial {
		list = slices.DeleteFunc(list, func(s storage.ThreadSubscription) bool { return !s.Subscribed })
	}
	x.threads = push.DescribeSubscriptions(list)
	if more {
		x.threads.PrevBatch = token.Gap{After: storage.Place{Position: last}}.String()
	}
	return nil
}

// extendTyping collects who is typing.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3961
func (q *slide) extendTyping(_ context.Context, v *overview, x *extended) error {
	x.typing = map[string][]string{}
	covered := v.covered(&q.params.extensions.Typing)
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, w := range covered {
		r := h.rooms[w.membership.RoomNID]
		if r == nil || w.membership.Membership != "join" {
			continue
		}
		if r.typingSerial > q.pos.typing && !q.initial || w.told == nil && len(r.typing) > 0 {
			x.typing[w.membership.RoomID] = r.typers()
		}
	}
	return nil
}

// extendReceipts reads the receipts that are new. Of a room that the client hears of for
// the first time these are the user's own, and those for the events that it is shown: all
// would be as many as the room has members.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3960
func (q *slide) extendReceipts(ctx context.Context, v *overview, x *extended) error {
	x.receipts = map[string][]storage.Receipt{}
	fresh, events := q.freshRooms(v)
	since, found := map[int64]storage.Position{}, map[int64][]storage.Receipt{}
	covered := v.covered(&q.params.extensions.Receipts)
	var nids []int64
	h := q.api.hub
	h.mu.RLock()
	for _, w := range covered {
		nid := w.membership.RoomNID
		r := h.rooms[nid]
		if r == nil || w.membership.Membership != "join" {
			continue
		}
		t := v.known(w, false)
		l := fresh[nid]
		if l != nil || t.receipts == 0 {
			nids = append(nids, nid)
		}
		if l != nil && l.initial || t.receipts == 0 {
			v.known(w, true).receipts = v.position
			continue
		}
		if r.receiptsFrom > t.receipts {
			since[nid] = t.receipts
		} else {
			found[nid] = r.receipts[sort.Search(len(r.receipts), func(i int) bool { return r.receipts[i].Position > t.receipts }):]
		}
		if since[nid] > 0 || len(found[nid]) > 0 {
			v.known(w, true).receipts = v.position
		}
	}
	h.mu.RUnlock()
	if err := q.readReceipts(ctx, nids, events, since, found); err != nil {
		return err
	}
	for nid, list := range found {
		visible := slices.DeleteFunc(slices.Clone(list), func(r storage.Receipt) bool { return !q.mayTell(&r) })
		if len(visible) > 0 {
			x.receipts[v.rooms[nid].membership.RoomID] = visible
		}
	}
	return nil
}

// freshRooms are the rooms of which more is told than what is new, with the events that are
// shown of them.
func (q *slide) freshRooms(v *overview) (fresh map[int64]*roomLook, events []string) {
	fresh = map[int64]*roomLook{}
	for _, l := range v.looks {
		if !l.initial && (l.shot == nil || !l.shot.expanded) {
			continue
		}
		fresh[l.membership.RoomNID] = l
		if l.timeline != nil {
			for _, e := range l.timeline.entries {
				events = append(events, e.event.ID)
			}
		}
	}
	return fresh, events
}

// readReceipts adds what memory doesn't have.
func (q *slide) readReceipts(ctx context.Context, fresh []int64, events []string, since map[int64]storage.Position, found map[int64][]storage.Receipt) error {
	if len(since) > 0 {
		read, err := q.api.db.ReceiptsSince(ctx, since)
		if err != nil {
			return err
		}
		for nid, list := range read {
			found[nid] = list
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	read, err := q.api.db.ReceiptsFor(ctx, fresh, q.u.id, events)
	for nid, list := range read {
		found[nid] = slices.Concat(list, found[nid])
	}
	return err
}

// mayTell reports whether the user is told of a receipt: everyone's public ones, and their
// own private ones.
func (q *request) mayTell(r *storage.Receipt) bool {
	return r.Type == "m.read" || r.Type == "m.read.private" && r.UserID == q.u.id
}
