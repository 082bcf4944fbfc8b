package syncapi

import (
	"context"
	"sort"
	"time"

	"hearth/internal/token"
	"hearth/roomserver"
	"hearth/storage"
)

// moment is what a request shows, collected under the hub's lock: all of it is of
// one position of the stream.
type moment struct {
	token   token.Sync
	joined  []*roomShot
	others  []storage.Membership // invited, knocked, left
	account bool
	changed []storage.Presence
	// unshown are joined rooms that the filter leaves out, in which there is something new,
	// and unshownOthers others: what happens there matters for whom the user sees.
	unshown       []*roomShot
	unshownOthers []storage.Membership
	// newcomers came into the user's sight since the token.
	newcomers map[string]bool
	// mayHaveMessages is whether messages to the device may be waiting.
	mayHaveMessages bool
	messages        []storage.ToDevice
	devices         deviceLists
	// stateChanged is what changed of the state of joined rooms since the token, where the
	// client asks for that; nil otherwise.
	stateChanged map[int64][]storage.StateTuple
}

// roomShot is a room the user has joined, at the moment.
type roomShot struct {
	room       *room
	membership storage.Membership
	view       *roomserver.View
	tail       []*entry
	tailFrom   storage.Position
	latest     storage.Position
	receipts   []storage.Receipt
	// receiptsFrom is from where on receipts are complete.
	receiptsFrom storage.Position
	typing       []string
	typingNews   bool
	// unread is by thread, see unreadCount.
	unread      map[string]storage.Unread
	unreadKnown bool
	// data is account data of the room.
	data []storage.AccountData
	// since is up to where the client knows the room, 0 if it doesn't.
	since storage.Position
	// newly is whether the room is to be shown as new to the client, and expanded whether
	// its timeline goes back behind since.
	newly, expanded bool
	// limit is how many events of the timeline the client wants.
	limit int
	vis   *roomserver.Visibility
	// mayStick is whether there may be sticky events that the client doesn't know.
	mayStick bool
	// pastSticky is the position of the newest of them that lies in the room's past.
	pastSticky storage.Position
	// changes are the state events since the token that memory doesn't have, nil until
	// they are read.
	changes []*storage.Event
}

// collect loads what is missing in memory and takes the moment.
func (q *request) collect(ctx context.Context) (*moment, error) {
	for {
		var m moment
		missing := q.shoot(&m)
		if len(missing) == 0 {
			return &m, nil
		}
		if err := q.api.loadRooms(ctx, missing); err != nil {
			return nil, err
		}
	}
}

// shoot takes the moment and returns the rooms whose views have to be loaded first.
func (q *request) shoot(m *moment) (missing []*room) {
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	m.token = token.SyncAt(h.position, h.typingSerial.Load())
	q.ignored = q.u.ignored
	since := q.since.Position
	for nid, membership := range q.u.memberships {
		joined, others := &m.joined, &m.others
		if !q.filter.MatchesRoom(membership.RoomID) {
			if joined, others = &m.unshown, &m.unshownOthers; q.initial {
				continue
			}
		}
		if membership.Membership != "join" {
			if !q.u.unwanted(membership) && (membership.Position > since || q.initial || q.fullState) {
				*others = append(*others, membership)
			}
			continue
		}
		r := h.rooms[nid]
		if r.view == nil {
			missing = append(missing, r)
			continue
		}
		if s := q.shootRoom(r, membership); s != nil {
			*joined = append(*joined, s)
		}
	}
	m.account = q.initial || q.u.accountData > since
	m.mayHaveMessages = q.since.ToDevice < q.u.followedFrom || q.u.toDevice[q.requester.DeviceID] > q.since.ToDevice
	q.shootDevices(m)
	m.changed = q.shootPresence()
	return missing
}

// shootRoom returns the room if there may be anything new in it. What memory
// doesn't know for certain is found out later.
func (q *request) shootRoom(r *room, membership storage.Membership) *roomShot {
	if q.awaitsMembers(r.view) {
		return nil
	}
	since := q.since.Position
	typingNews := r.typingSerial > q.since.Typing && (!q.initial || len(r.typing) > 0)
	receipts := r.receipts[sort.Search(len(r.receipts), func(i int) bool { return r.receipts[i].Position > since }):]
	if !q.initial && !q.fullState && r.latest <= since && membership.Position <= since && !typingNews &&
		len(receipts) == 0 && r.receiptsFrom <= since && !q.api.hub.mayStick(r, q.since.Sticky, q.now) {
		return nil
	}
	s := &roomShot{room: r, membership: membership, view: r.view, tail: r.tail, tailFrom: r.tailFrom, latest: r.latest,
		receipts: receipts, receiptsFrom: r.receiptsFrom, typingNews: typingNews}
	s.since, s.limit = since, q.limit()
	s.newly = q.initial || membership.Position > since || q.isNew(s)
	s.mayStick = s.newly && q.api.hub.mayStick(r, 0, q.now) || q.api.hub.mayStick(r, q.since.Sticky, q.now)
	if s.mayStick {
		s.pastSticky = q.api.hub.sticky[r.nid].Past
	}
	if s.typingNews {
		s.typing = r.typers()
	}
	s.unread, s.unreadKnown = q.u.countUnread(r)
	return s
}

// typers lists who is typing in the room. The hub's lock is held.
func (r *room) typers() []string {
	now := time.Now()
	typers := []string{}
	for userID, until := range r.typing {
		if until.After(now) {
			typers = append(typers, userID)
		}
	}
	sort.Strings(typers)
	return typers
}

// shootPresence lists whose presence the user is to be told.
func (q *request) shootPresence() []storage.Presence {
	h := q.api.hub
	if !h.o.PresenceEnabled {
		return nil
	}
	var changed []storage.Presence
	log := h.presenceLog
	if q.initial || len(log) == maxPresenceLog && log[0].position > q.since.Position {
		for _, p := range h.presence {
			if q.shares(p.UserID) {
				changed = append(changed, p)
			}
		}
		return changed
	}
	seen := map[string]bool{}
	for i := sort.Search(len(log), func(i int) bool { return log[i].position > q.since.Position }); i < len(log); i++ {
		if id := log[i].userID; !seen[id] && q.shares(id) {
			seen[id] = true
			if p, known := h.presence[id]; known {
				changed = append(changed, p)
			}
		}
	}
	return changed
}

// shares reports whether the user shares a room with another.
func (q *request) shares(other string) bool {
	if other == q.u.id {
		return true
	}
	for nid, m := range q.u.memberships {
		if m.Membership != "join" {
			continue
		}
		if r := q.api.hub.rooms[nid]; r.view != nil && q.api.rooms.MayBeIn(r.view, other) {
			return true
		}
	}
	return false
}
