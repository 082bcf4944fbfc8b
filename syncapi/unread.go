package syncapi

import (
	"context"

	"hearth/storage"
)

// unreadCount is how many events of a room a user hasn't read, up to a position.
type unreadCount struct {
	storage.Unread
	upTo  storage.Position
	epoch int
}

// countUnread brings the user's count for the room up to date from the tail; it
// reports false when the database has to count. The hub's lock is held.
func (u *user) countUnread(r *room) (storage.Unread, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := u.unread[r.nid]
	if known == nil || known.epoch != r.unreadEpoch || known.upTo < r.tailFrom {
		return storage.Unread{}, false
	}
	for i := len(r.tail) - 1; i >= 0 && r.tail[i].event.Position > known.upTo; i-- {
		if i == 0 || r.tail[i-1].event.Position <= known.upTo {
			known.add(u.id, r.tail[i:])
			break
		}
	}
	return known.Unread, true
}

// add counts further events. Who says something has read what came before.
func (c *unreadCount) add(userID string, events []*entry) {
	for _, e := range events {
		c.upTo = e.event.Position
		if e.event.Sender == userID {
			c.Unread = storage.Unread{}
			continue
		}
		if e.event.Notifies {
			c.Notifications++
		}
		for _, h := range e.highlights {
			if h == userID || h == "" {
				c.Highlights++
				break
			}
		}
	}
}

// loadUnread counts what countUnread couldn't, in one query.
func (q *request) loadUnread(ctx context.Context, m *moment) error {
	var rooms []int64
	epochs := map[int64]int{}
	h := q.api.hub
	h.mu.RLock()
	for _, s := range m.joined {
		if !s.unreadKnown {
			rooms = append(rooms, s.room.nid)
			epochs[s.room.nid] = s.room.unreadEpoch
		}
	}
	h.mu.RUnlock()
	if len(rooms) == 0 {
		return nil
	}
	counts, err := q.api.db.CountUnread(ctx, rooms, q.u.id, m.token.Position)
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
	for nid, c := range counts {
		q.u.unread[nid] = &unreadCount{Unread: c, upTo: m.token.Position, epoch: epochs[nid]}
	}
	return nil
}
