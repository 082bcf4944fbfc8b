package syncapi

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"hearth/storage"
)

// unreadCount is how many events of a room a user hasn't read, up to a position.
type unreadCount struct {
	// threads has the counts by the thread's root, "" for the main timeline.
	threads map[string]storage.Unread
	upTo    storage.Position
}

// countableFrom is from where on the tail says all that it takes to count.
func (r *room) countableFrom() storage.Position { return max(r.tailFrom, r.liveFrom) }

// countUnread brings the user's count for the room up to date from the tail; it
// reports false when the database has to count. The hub's lock is held.
func (u *user) countUnread(r *room) (map[string]storage.Unread, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := u.unread[r.nid]
	if known == nil || known.upTo < r.countableFrom() {
		return nil, false
	}
	for _, e := range r.tail[r.firstAfter(known.upTo):] {
		known.upTo = e.event.Position
		n := e.countsFor(u)
		own := e.readFor(u)
		if !own && n == (storage.Unread{}) {
			continue
		}
		thread, ok := r.threadOf(e)
		if !ok {
			delete(u.unread, r.nid)
			return nil, false
		}
		if own { // who says something has read what came before
			delete(known.threads, thread)
		} else {
			known.threads[thread] = known.threads[thread].Plus(n)
		}
	}
	return maps.Clone(known.threads), true
}

// readFor reports whether the user, by sending the event, has read what came before. A new
// name or picture goes to every room and says nothing of any; where a membership begins, the
// count does too.
//
// https://spec.matrix.org/v1.19/client-server-api/#marking-notifications-as-read
func (e *entry) readFor(u *user) bool {
	profile := e.event.Type == "m.room.member" && e.event.IsState() && *e.event.StateKey == u.id
	return e.event.Sender == u.id && !profile
}

// countsFor is what the event adds to the user's unread count.
func (e *entry) countsFor(u *user) (n storage.Unread) {
	if u.ignored[e.event.Sender] {
		return n
	}
	highlights := slices.Contains(e.highlights, u.id) || slices.Contains(e.highlights, "")
	notifies := e.event.Notifies || highlights
	if i := slices.IndexFunc(e.exceptions, func(x storage.Exception) bool { return x.UserID == u.id }); i >= 0 {
		notifies, highlights = e.exceptions[i].Notifies, e.exceptions[i].Highlights
	}
	if notifies {
		n.Notifications = 1
	}
	if highlights {
		n.Highlights = 1
	}
	return n
}

// readUpTo takes a receipt into account that says that the user has read a thread,
// or with "" everything, up to an event. The hub's lock is held for writing.
func (u *user) readUpTo(r *room, thread string, at storage.Position) {
	known := u.unread[r.nid]
	if known == nil {
		return
	}
	if min(at, known.upTo) < r.countableFrom() {
		delete(u.unread, r.nid) // the database has to count
		return
	}
	left := map[string]storage.Unread{}
	for _, e := range r.tail[r.firstAfter(at):] {
		if e.event.Position > known.upTo {
			break
		}
		n := e.countsFor(u)
		if n == (storage.Unread{}) {
			continue
		}
		of, ok := r.threadOf(e)
		if !ok {
			delete(u.unread, r.nid) // the database has to count
			return
		}
		left[of] = left[of].Plus(n)
	}
	for id, t := range known.threads {
		if thread != "" && thread != id && !(thread == "main" && id == "") {
			continue
		}
		// What was unread before may have begun later than the receipt.
		t.Notifications = min(t.Notifications, left[id].Notifications)
		t.Highlights = min(t.Highlights, left[id].Highlights)
		known.threads[id] = t
		if t == (storage.Unread{}) {
			delete(known.threads, id)
		}
	}
}

// recount has the database count again for those to whom the event that was
// redacted may count as unread. The hub's lock is held for writing.
func (r *room) recount(redacted *entry) {
	if !redacted.event.Notifies && len(redacted.highlights)+len(redacted.exceptions) == 0 {
		return
	}
	for u := range r.watchers {
		if known := u.unread[r.nid]; known != nil && len(known.threads) > 0 {
			delete(u.unread, r.nid)
		}
	}
}

// loadUnread counts what countUnread couldn't, in one query.
func (q *request) loadUnread(ctx context.Context, m *moment) error {
	var rooms []int64
	for _, s := range m.joined {
		if !s.unreadKnown {
			rooms = append(rooms, s.room.nid)
		}
	}
	if len(rooms) == 0 {
		return nil
	}
	h := q.api.hub
	h.mu.RLock()
	ignored := slices.Collect(maps.Keys(q.u.ignored))
	h.mu.RUnlock()
	counts, err := q.api.db.CountUnread(ctx, rooms, q.u.id, ignored, m.token.Position)
	if err != nil {
		return err
	}
	for _, s := range m.joined {
		if !s.unreadKnown {
			s.unread = counts[s.room.nid]
		}
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	q.u.mu.Lock()
	defer q.u.mu.Unlock()
	if q.u.readAt > m.token.Position {
		return nil // read on meanwhile: the next sync counts again
	}
	for _, nid := range rooms {
		threads := maps.Clone(counts[nid])
		if threads == nil {
			threads = map[string]storage.Unread{}
		}
		q.u.unread[nid] = &unreadCount{threads: threads, upTo: m.token.Position}
	}
	return nil
}

func appendCounts(b []byte, n storage.Unread) []byte {
	b = strconv.AppendInt(append(b, `{"notification_count":`...), int64(n.Notifications), 10)
	b = strconv.AppendInt(append(b, `,"highlight_count":`...), int64(n.Highlights), 10)
	return append(b, '}')
}

// appendUnread appends a room's counts: those of each thread by itself if the
// filter asks for it, otherwise all together.
//
// https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
func (q *request) appendUnread(b []byte, threads map[string]storage.Unread) []byte {
	var all storage.Unread
	apart := q.filter.Room.Timeline.UnreadThreadNotifications
	for thread, n := range threads {
		if thread == "" || !apart {
			all.Notifications += n.Notifications
			all.Highlights += n.Highlights
		}
	}
	b = appendCounts(append(b, `,"unread_notifications":`...), all)
	if !apart {
		return b
	}
	b = append(b, `,"unread_thread_notifications":{`...)
	for thread, n := range threads {
		if thread != "" {
			b = appendCounts(append(appendJSON(comma(b), thread), ':'), n)
		}
	}
	return append(b, '}')
}
