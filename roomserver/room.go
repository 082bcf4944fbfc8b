package roomserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"hearth/storage"
)

// room is an active room in memory. What mu guards runs ahead of the database:
// a local event is built on the one before it, which may not be on disk yet.
// If a commit fails the room is dropped and everything built on it fails too.
type room struct {
	id      string
	version gomatrixserverlib.IRoomVersion
	// view is the committed room, for readers.
	view atomic.Pointer[View]

	mu   sync.Mutex
	dead bool // dropped: load it again
	head head
	// pdus holds parsed state events that authorise others, by event number.
	pdus map[int64]gomatrixserverlib.PDU
	// rules are what authorises plain events, nil before the first.
	rules *rules
	// last is the newest change that was queued.
	last *storage.Outcome
	// txns are the recent transaction keys and what they made.
	txns recentTxns
}

// head is the room's newest state. A change works on a copy and puts it in place
// when it is complete.
type head struct {
	row     storage.Room
	state   storage.StateMap
	summary storage.RoomSummary
	chain   snapshotChain
}

// publish makes a committed change visible to readers.
func (rm *room) publish(c *storage.RoomChange) {
	v := &View{Room: c.Room, State: c.StateAfter}
	if c.Summary != nil {
		v.Summary = *c.Summary
	} else if old := rm.view.Load(); old != nil {
		v.Summary = old.Summary
	}
	rm.view.Store(v)
}

// isBehind reports whether readers see more than what changes are built on: the room left
// memory while it was being changed, and was read again before that change was stored. The
// lock is held.
func (rm *room) isBehind() bool {
	v := rm.view.Load()
	return v != nil && v.Room.Version > rm.head.row.Version
}

// roomCache holds the active rooms within a budget of bytes.
type roomCache struct {
	rooms   *otter.Cache[string, *room]
	loading singleflight.Group
}

func newRoomCache(budget int64) *roomCache {
	return &roomCache{rooms: otter.Must(&otter.Options[string, *room]{
		MaximumWeight: uint64(budget),
		// A state entry is its key, its event id and its share of the map's nodes.
		Weigher: func(_ string, rm *room) uint32 { return 4096 + 250*uint32(rm.view.Load().State.Len()) },
	})}
}

func (c *roomCache) peek(roomID string) *room {
	rm, _ := c.rooms.GetIfPresent(roomID)
	return rm
}

// drop forgets a room whose memory no longer agrees with the database. The
// caller holds no lock.
func (c *roomCache) drop(rm *room) {
	rm.mu.Lock()
	rm.dead = true
	rm.mu.Unlock()
	c.rooms.ComputeIfPresent(rm.id, func(old *room) (*room, otter.ComputeOp) {
		if old == rm {
			return nil, otter.InvalidateOp
		}
		return old, otter.CancelOp
	})
}

// load returns the room from memory or reads it, once however many ask.
func (s *Server) load(ctx context.Context, roomID string) (*room, error) {
	if rm := s.live.peek(roomID); rm != nil {
		return rm, nil
	}
	v, err, _ := s.live.loading.Do(roomID, func() (any, error) {
		if rm := s.live.peek(roomID); rm != nil {
			return rm, nil
		}
		return s.read(context.WithoutCancel(ctx), roomID)
	})
	if err != nil {
		return nil, err
	}
	return v.(*room), nil
}

// maxReads bounds how often a room is read again because it changed meanwhile.
const maxReads = 3

// read loads a room from the database, as of one moment. A commit may come before
// it is in place, where follow finds it, so that is checked after. Another process
// may be writing all the time: what it makes stale, the next change finds out.
func (s *Server) read(ctx context.Context, roomID string) (rm *room, err error) {
	for n := 1; ; n++ {
		h, err := s.db.GetRoomHead(ctx, roomID)
		if errors.Is(err, storage.ErrNotFound) {
			return nil, ErrUnknownRoom
		}
		if err != nil {
			return nil, err
		}
		version, err := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(h.Room.RoomVersion))
		if err != nil {
			return nil, fmt.Errorf("loading %s: %w", roomID, err)
		}
		rm = &room{id: roomID, version: version, pdus: map[int64]gomatrixserverlib.PDU{}}
		rm.head = head{row: h.Room, state: h.State, summary: h.Summary, chain: newSnapshotChain(h.Chain, h.State)}
		rm.view.Store(&View{Room: h.Room, State: h.State, Summary: h.Summary})
		if present, ok := s.live.rooms.SetIfAbsent(roomID, rm); !ok {
			return present, nil // it was made meanwhile
		}
		again, err := s.db.GetRoom(ctx, roomID)
		if err != nil {
			return nil, err
		}
		if again.Version == h.Room.Version || n == maxReads {
			return rm, nil
		}
		s.live.drop(rm)
	}
}

// recentTxns remembers the last transactions of a room, so that a repeated
// request doesn't cost the batch it is in.
type recentTxns struct {
	ids   map[[16]byte]*txn
	order [][16]byte
}

// txn is a transaction that was built; done closes when its fate is known.
type txn struct {
	eventID string
	outcome *storage.Outcome
}

// maxRecentTxns bounds recentTxns per room.
const maxRecentTxns = 64

func (r *recentTxns) add(key [16]byte, t *txn) {
	if r.ids == nil {
		r.ids = map[[16]byte]*txn{}
	}
	if len(r.order) == maxRecentTxns {
		delete(r.ids, r.order[0])
		r.order = r.order[1:]
	}
	r.ids[key] = t
	r.order = append(r.order, key)
}
