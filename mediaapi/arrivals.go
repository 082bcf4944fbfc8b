package mediaapi

import "sync"

// arrivals wakes those who wait for the content of reserved media ids.
type arrivals struct {
	mu      sync.Mutex
	waiting map[string]*arrival // by media id, only while somebody waits
}

type arrival struct {
	arrived chan struct{}
	waiters int
}

func newArrivals() *arrivals { return &arrivals{waiting: map[string]*arrival{}} }

// watch returns a channel that is closed when the id's content arrives, and a
// function to call when it no longer matters.
func (a *arrivals) watch(id string) (<-chan struct{}, func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiting[id]
	if w == nil {
		w = &arrival{arrived: make(chan struct{})}
		a.waiting[id] = w
	}
	w.waiters++
	return w.arrived, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if w.waiters--; w.waiters == 0 && a.waiting[id] == w {
			delete(a.waiting, id)
		}
	}
}

func (a *arrivals) announce(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.waiting[id]; w != nil {
		close(w.arrived)
		delete(a.waiting, id)
	}
}
