package roomserver

import (
	"context"
	"sync"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// A room that another server handed over without its members is partial until these are
// known. Until then its state holds those of the members who have shown themselves: whom an
// event names as its authority, and of whom nothing is known, is believed to be what they
// are said to be. What was judged that way is marked storage.Presumed, and judged anew when
// everything is known; see complete.go.

// maxWaitForMembers bounds how long somebody waits for a room's members.
const maxWaitForMembers = 2 * time.Minute

// completions tells those who wait for a room's members that a room has got them.
type completions struct {
	mu   sync.Mutex
	next chan struct{}
}

func (c *completions) wait() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}

func (c *completions) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

// WaitForMembers waits until all members of the room are known, if they are being asked
// for. The error says that they still are.
func (s *Server) WaitForMembers(ctx context.Context, roomID string) error {
	ctx, cancel := context.WithTimeout(ctx, maxWaitForMembers)
	defer cancel()
	for {
		next := s.completions.wait()
		v, err := s.View(ctx, roomID)
		if err != nil {
			return err
		}
		if !s.LacksMembers(v) {
			return nil
		}
		select {
		case <-next:
		case <-time.After(time.Second): // nobody asks any more once the last user has left
		case <-ctx.Done():
			return httpapi.Unavailable(10*time.Second, "The room's members are still being asked for; try again")
		}
	}
}

// LacksMembers reports whether members of a room that this server is in aren't known yet.
func (s *Server) LacksMembers(v *View) bool {
	return v.Room.IsPartial() && s.JoinedServers(v)[s.o.ServerName] > 0
}

// MayBeIn reports whether a user is in the room or, where members aren't known, may be.
func (s *Server) MayBeIn(v *View, userID string) bool {
	if e, known := v.Entry("m.room.member", userID); known {
		return e.Membership == "join"
	}
	return v.Room.IsPartial() && s.JoinedServers(v)[userid.Domain(userID)] > 0
}

// claimed are the members whom an event names as its authority, as far as a state lacks
// them.
func claimed(pdu gomatrixserverlib.PDU, known map[string]*storage.Event, state storage.StateMap) (list []*storage.Event) {
	for _, id := range pdu.AuthEventIDs() {
		e := known[id]
		if e.Type != "m.room.member" || !e.IsState() || e.Flags&storage.Rejected != 0 {
			continue
		}
		if _, ok := state.Get(tupleOf(e)); !ok {
			list = append(list, e)
		}
	}
	return list
}

// wayOut is by what somebody who leaves was in the room, if a state has it that somebody else made
// them leave: without the members it isn't known whether they might. Who goes is told of.
func wayOut(pdu gomatrixserverlib.PDU, known map[string]*storage.Event, state storage.StateMap) []*storage.Event {
	sender := string(pdu.SenderID())
	if pdu.Type() != "m.room.member" || !pdu.StateKeyEquals(sender) || gjson.GetBytes(pdu.Content(), "membership").Str != "leave" {
		return nil
	}
	if now, _ := state.Get(storage.StateTuple{Type: "m.room.member", StateKey: sender}); now.Membership != "leave" {
		return nil
	}
	for _, id := range pdu.AuthEventIDs() {
		if e := known[id]; e.Type == "m.room.member" && e.IsState() && *e.StateKey == sender && e.Flags&storage.Rejected == 0 {
			return []*storage.Event{e}
		}
	}
	return nil
}

func withMembers(state storage.StateMap, members []*storage.Event) storage.StateMap {
	for _, e := range members {
		state = state.Set(tupleOf(e), entryOf(e))
	}
	return state
}

// learn makes members current, as of the event that is added next.
func (b *builder) learn(members []*storage.Event) error {
	for _, e := range members {
		if err := b.makeCurrent(e, storage.StateEntry{}, len(b.change.Events)); err != nil {
			return err
		}
	}
	return nil
}
