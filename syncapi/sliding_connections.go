package syncapi

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"time"

	"hearth/storage"
)

const (
	// maxDeviceConnections bounds the connections of a device; the one that was used least
	// recently makes room.
	maxDeviceConnections = 8
	// connectionIdle is how long a connection is kept that isn't used.
	connectionIdle = 7 * 24 * time.Hour
)

// slidingPos is where a connection stands. What it says beside the serial needs no memory,
// so that a connection without rooms, such as one for messages to the device alone, lives
// on after a restart.
type slidingPos struct {
	position, devices storage.Position
	typing            int64
	// serial is of what was told of rooms; 0 if nothing was.
	serial int64
}

// device is who a connection belongs to.
type device struct{ userID, deviceID string }

// connections are the connections of all devices, in memory: after a restart clients begin
// anew, which costs them a look at the rooms that they show.
type connections struct {
	key    []byte
	budget int64

	mu    sync.Mutex
	of    map[device]map[string]*list.Element
	order *list.List // of *held, the one used last in front
	bytes int64
	last  int64 // the newest serial
}

// held is a connection in the list.
type held struct {
	owner device
	id    string
	c     *connection
	bytes int64
	used  time.Time
}

func newConnections(key []byte, budget int64) *connections {
	if len(key) == 0 {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails
	}
	// Serials of an earlier process are not taken for this one's.
	return &connections{key: key, budget: budget, of: map[device]map[string]*list.Element{}, order: list.New(), last: time.Now().UnixNano()}
}

func (s *connections) serial() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	return s.last
}

// sign appends what proves that a pos is this server's, and for whom.
func (s *connections) sign(b []byte, owner device, connID string) []byte {
	mac := hmac.New(sha256.New, s.key)
	for _, part := range []string{owner.userID, owner.deviceID, connID} {
		mac.Write(append(strconv.AppendInt(nil, int64(len(part)), 10), ':'))
		mac.Write([]byte(part))
	}
	mac.Write(b)
	return hex.AppendEncode(append(b, '_'), mac.Sum(nil)[:12])
}

// write appends a pos.
func (s *connections) write(b []byte, p slidingPos, owner device, connID string) []byte {
	start := len(b)
	b = strconv.AppendInt(append(b, 'p'), p.position, 10)
	for _, n := range []int64{p.typing, p.devices, p.serial} {
		b = strconv.AppendInt(append(b, '_'), n, 10)
	}
	return append(b[:start], s.sign(b[start:len(b):len(b)], owner, connID)...)
}

// read reads a pos that was written for the same connection.
func (s *connections) read(text string, owner device, connID string) (p slidingPos, ok bool) {
	at := strings.LastIndexByte(text, '_')
	if at < 0 || !hmac.Equal(s.sign([]byte(text[:at]), owner, connID), []byte(text)) {
		return p, false
	}
	fields := strings.Split(strings.TrimPrefix(text[:at], "p"), "_")
	into := []*int64{&p.position, &p.typing, &p.devices, &p.serial}
	if len(fields) != len(into) {
		return p, false
	}
	for i, field := range fields {
		var err error
		if *into[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return p, false
		}
	}
	return p, true
}

// begin returns a new connection in the place of one with the same id.
func (s *connections) begin(owner device, connID string) *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.of[owner][connID]; old != nil {
		s.drop(old)
	}
	s.expire(time.Now().Add(-connectionIdle))
	own := s.of[owner]
	if len(own) >= maxDeviceConnections {
		var oldest *list.Element
		for _, e := range own {
			if oldest == nil || e.Value.(*held).used.Before(oldest.Value.(*held).used) {
				oldest = e
			}
		}
		s.drop(oldest)
	}
	if s.of[owner] == nil {
		s.of[owner] = map[string]*list.Element{}
	}
	c := &connection{rules: map[string]*roomRules{}, told: told{rooms: map[int64]*toldRoom{}}}
	h := &held{owner: owner, id: connID, c: c, bytes: c.size(), used: time.Now()}
	s.of[owner][connID] = s.order.PushFront(h)
	s.bytes += h.bytes
	s.shrink()
	return c
}

// find returns a connection, nil for one that is no more, and when it was used before.
func (s *connections) find(owner device, connID string) (c *connection, used time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.of[owner][connID]
	if e == nil {
		return nil, used
	}
	s.order.MoveToFront(e)
	h := e.Value.(*held)
	used, h.used = h.used, time.Now()
	return h.c, used
}

// measure takes over what a connection takes now. One that remembers too much is
// forgotten, as are those that were used least recently if all together do.
func (s *connections) measure(owner device, connID string, c *connection, bytes int64, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.of[owner][connID]
	if e == nil || e.Value.(*held).c != c {
		return
	}
	h := e.Value.(*held)
	s.bytes += bytes - h.bytes
	h.bytes = bytes
	if full {
		s.drop(e)
	}
	s.shrink()
}

// shrink makes all fit the budget. The lock is held.
func (s *connections) shrink() {
	for s.bytes > s.budget && s.order.Len() > 1 {
		s.drop(s.order.Back())
	}
}

// expire forgets the connections that weren't used since. The lock is held.
func (s *connections) expire(since time.Time) {
	for e := s.order.Back(); e != nil && e.Value.(*held).used.Before(since); e = s.order.Back() {
		s.drop(e)
	}
}

// drop forgets a connection. The lock is held.
func (s *connections) drop(e *list.Element) {
	h := e.Value.(*held)
	h.c.enter() // who waits needn't
	s.order.Remove(e)
	s.bytes -= h.bytes
	if delete(s.of[h.owner], h.id); len(s.of[h.owner]) == 0 {
		delete(s.of, h.owner)
	}
}
