package push

import (
	"slices"

	"hearth/storage"
)

// follow hands a committed batch to dispatch: it runs on the stream's writer, and in a
// big room there are many to be told.
func (s *Sender) follow(b *storage.Batch) {
	s.mu.Lock()
	s.batches = append(s.batches, b)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// dispatch finds, batch by batch, whose pushers have something to do.
func (s *Sender) dispatch() {
	for {
		select {
		case <-s.wake:
		case <-s.quit.Done():
			return
		}
		s.mu.Lock()
		batches := s.batches
		s.batches = nil
		s.mu.Unlock()
		for _, b := range batches {
			s.note(b)
		}
	}
}

func (s *Sender) note(b *storage.Batch) {
	s.people.mu.Lock()
	defer s.people.mu.Unlock()
	s.head = max(s.head, b.Position)
	for _, c := range b.Changes {
		if c.Room != nil {
			s.noteRoom(c.Room)
		}
		for _, r := range c.Receipts {
			who := s.people.users[r.UserID]
			if who == nil || r.Type != "m.read" && r.Type != "m.read.private" {
				continue
			}
			for _, l := range who.of {
				if l.unread == nil || l.unread[r.RoomNID] > 0 {
					s.add(l, todo{rooms: map[int64]bool{r.RoomNID: true}, read: true})
				}
			}
		}
	}
}

// noteRoom notes whom what happened in a room concerns. The people's lock is held.
func (s *Sender) noteRoom(c *storage.RoomChange) {
	here := map[int64]bool{c.Room.NID: true}
	for _, m := range c.Memberships {
		if who := s.people.set(m); who != nil {
			for _, l := range who.of {
				s.add(l, todo{rooms: here, invited: m.Membership == "invite", read: m.Membership != "invite" && l.unread[m.RoomNID] > 0})
			}
		}
	}
	for i, e := range c.Events {
		if e.Position == 0 || !e.Accepted() {
			continue
		}
		for _, who := range s.people.rooms[c.Room.NID] {
			own := e.Sender == who.id
			if !own && !concerns(c, i, who.id) {
				continue
			}
			for _, l := range who.of {
				if !own || l.unread[c.Room.NID] > 0 { // who says something has read what came before
					s.add(l, todo{rooms: here, read: own})
				}
			}
		}
	}
}

// concerns reports whether one of a change's events counts as unread for a user.
func concerns(c *storage.RoomChange, event int, userID string) bool {
	for _, x := range c.Exceptions {
		if x.Event == event && x.UserID == userID {
			return x.Notifies
		}
	}
	return c.Events[event].Notifies || slices.ContainsFunc(c.Highlights, func(h storage.Highlight) bool {
		return h.Event == event && (h.UserID == userID || h.UserID == "")
	})
}
