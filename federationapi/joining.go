package federationapi

import (
	"context"
	"sync"
)

// joining knows the rooms that are being joined at the moment: what others send of
// them before the room is there has to wait for it.
type joining struct {
	mu    sync.Mutex
	rooms map[string]*joinInProgress
}

type joinInProgress struct {
	users int
	done  chan struct{}
}

// begin notes that a user is joining the room; what it returns notes the end.
func (j *joining) begin(roomID string) (end func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.rooms == nil {
		j.rooms = map[string]*joinInProgress{}
	}
	p := j.rooms[roomID]
	if p == nil {
		p = &joinInProgress{done: make(chan struct{})}
		j.rooms[roomID] = p
	}
	p.users++
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if p.users--; p.users == 0 {
			delete(j.rooms, roomID)
			close(p.done)
		}
	}
}

// wait waits until nobody is joining the room any more, and reports whether anybody
// was.
func (j *joining) wait(ctx context.Context, roomID string) bool {
	j.mu.Lock()
	p := j.rooms[roomID]
	j.mu.Unlock()
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
		return false
	}
}
