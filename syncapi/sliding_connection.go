package syncapi

import (
	"crypto/sha256"
	"net/http"
	"sync"

	"github.com/benbjohnson/immutable"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxConnectionRules bounds the rules for state that a connection remembers, and
	// maxConnectionBytes what it remembers at all: who has more begins anew.
	maxConnectionRules, maxConnectionBytes = 1 << 20, 16 << 20
	// maxLazyMembers bounds the members that are remembered of a room; what is forgotten is
	// told again.
	maxLazyMembers = 5000
)

func unknownPos() error {
	return httpapi.New(http.StatusBadRequest, "M_UNKNOWN_POS", "The connection has expired: begin anew, without pos")
}

// toldRoom is what a client knows of a room. It isn't changed but replaced.
type toldRoom struct {
	// upTo is up to where the client knows the timeline and the state.
	upTo  storage.Position
	rules *roomRules
	// limit is the timeline_limit of what was told, and held how many of the newest events
	// the client has in a row; whole is whether it has them from the beginning.
	limit, held int
	whole       bool
	// members has the member events that were told because they were needed.
	members *immutable.Map[string, int64]
	dm      bool
	unread  storage.Unread
	// receipts and data are up to where the client knows these; 0 for not at all.
	receipts, data storage.Position
}

// About what a room and a member take in the memory of a connection.
const toldRoomBytes, toldMemberBytes = 250, 120

func (t *toldRoom) bytes() int64 {
	if t == nil {
		return 0
	}
	n := int64(toldRoomBytes)
	if t.members != nil {
		n += toldMemberBytes * int64(t.members.Len())
	}
	return n
}

// hasMember reports whether a piece of state is a member who was told because they were
// needed.
func (t *toldRoom) hasMember(tuple storage.StateTuple, e storage.StateEntry) bool {
	if t.members == nil || tuple.Type != "m.room.member" {
		return false
	}
	nid, ok := t.members.Get(tuple.StateKey)
	return ok && nid == e.EventNID
}

// connection is what is known of one of a device's loops of syncs. A client says with the
// pos of its next request that it has had the answer with that pos; until then it may ask
// again from where it stood. So there are two states: the one that the client surely has,
// and what the newest answer added.
type connection struct {
	mu sync.Mutex
	// serial is of the state that the client surely has: rooms and the rest.
	serial int64
	told
	// answer is what the newest answer adds, nil without any.
	answer *answered
	// rules are those in use, so that rooms share them.
	rules      map[string]*roomRules
	rulesBytes int64
	bytes      int64
	// newest is closed when another request comes in place of the newest, and parked
	// answers that one if it waits without a goroutine.
	newestMu sync.Mutex
	newest   chan struct{}
	parked   func()
}

// told is what was told beside the rooms themselves.
type told struct {
	rooms map[int64]*toldRoom
	// wanted is what the client asked for, and counts how long its lists were.
	wanted [sha256.Size]byte
	counts map[string]int
}

// answered is what an answer adds to what was told before; a room that is nil is forgotten.
type answered struct {
	serial int64
	told
}

// enter makes a request the newest; the channel is closed when another comes.
func (c *connection) enter() <-chan struct{} {
	c.newestMu.Lock()
	if c.newest != nil {
		close(c.newest)
	}
	superseded := make(chan struct{})
	parked := c.parked
	c.newest, c.parked = superseded, nil
	c.newestMu.Unlock()
	if parked != nil {
		parked()
	}
	return superseded
}

// park has the request that enter gave the channel to answered when another comes: nobody
// looks at the channel while it is parked.
func (c *connection) park(superseded <-chan struct{}, answer func()) {
	c.newestMu.Lock()
	newest := c.newest == superseded
	if newest {
		c.parked = answer
	}
	c.newestMu.Unlock()
	if !newest {
		answer()
	}
}

// unpark forgets the request that enter gave the channel to.
func (c *connection) unpark(superseded <-chan struct{}) {
	c.newestMu.Lock()
	defer c.newestMu.Unlock()
	if c.newest == superseded {
		c.parked = nil
	}
}

// resume finds where the client stands: after the newest answer, or before it.
func (c *connection) resume(serial int64) bool {
	if c.answer != nil && c.answer.serial == serial {
		c.take(c.answer)
		c.answer = nil
	}
	return c.serial == serial
}

// take makes an answer part of what the client surely has.
func (c *connection) take(a *answered) {
	for nid, t := range a.rooms {
		c.bytes += t.bytes() - c.rooms[nid].bytes()
		if t == nil {
			delete(c.rooms, nid)
			continue
		}
		c.rooms[nid] = t
	}
	c.serial, c.wanted, c.counts = a.serial, a.wanted, a.counts
}

// share returns the rules as the connection has them already, if it does.
func (c *connection) share(r *roomRules) *roomRules {
	if have := c.rules[r.id]; have != nil {
		return have
	}
	if c.rulesBytes > maxConnectionRules {
		c.rules, c.rulesBytes = map[string]*roomRules{}, 0
		for _, t := range c.rooms { // those that are still in use stay
			if c.rules[t.rules.id] == nil {
				c.rules[t.rules.id] = t.rules
				c.rulesBytes += t.rules.bytes()
			}
		}
	}
	c.rules[r.id] = r
	c.rulesBytes += r.bytes()
	return r
}

// full is whether more is remembered than may be.
func (c *connection) full() bool {
	return c.bytes > maxConnectionBytes || c.rulesBytes > 2*maxConnectionRules
}

// size is about what the connection takes in memory, with an answer that is as large as
// what it adds to.
func (c *connection) size() int64 { return 1000 + 2*c.bytes + c.rulesBytes }
