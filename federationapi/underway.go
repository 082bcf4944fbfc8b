package federationapi

import (
	"context"
	"sync"
)

// underway knows what is being done at the moment, by a key of K, for those who have to
// wait for it.
type underway[K comparable] struct {
	mu   sync.Mutex
	work map[K]*workUnderway
}

type workUnderway struct {
	doers int
	done  chan struct{}
}

// begin notes that somebody does it; what it returns notes the end.
func (u *underway[K]) begin(key K) (end func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.work == nil {
		u.work = map[K]*workUnderway{}
	}
	w := u.work[key]
	if w == nil {
		w = &workUnderway{done: make(chan struct{})}
		u.work[key] = w
	}
	w.doers++
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if w.doers--; w.doers == 0 {
			delete(u.work, key)
			close(w.done)
		}
	}
}

// watch returns what waits until nobody does it any more who does it now, and reports whether
// anybody did. Who looks for what came of it watches before looking: otherwise the work may end
// in between, and neither it nor its outcome be seen.
func (u *underway[K]) watch(key K) (wait func(ctx context.Context) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	w := u.work[key]
	if w == nil {
		return func(context.Context) bool { return false }
	}
	return func(ctx context.Context) bool {
		select {
		case <-w.done:
			return true
		case <-ctx.Done():
			return false
		}
	}
}
