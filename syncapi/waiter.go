package syncapi

import (
	"net/http"
	"time"

	"hearth/internal/httpapi"
)

// parkAfter is for how long nothing must have concerned the user before their
// requests are parked: who lives in a busy room is answered soon, and doesn't pay
// for parking.
const parkAfter = 5 * time.Second

// waiter is a request that waits for news of a user.
type waiter struct {
	// woken has room for one: that there is something to look at.
	woken chan struct{}
	// parked is the request once it waits without a goroutine; the user's mu guards it.
	parked *httpapi.Parked
}

// wait registers a waiter; it must be released.
func (u *user) wait() *waiter {
	w := &waiter{woken: make(chan struct{}, 1)}
	u.mu.Lock()
	if u.waiters == nil {
		u.waiters = map[*waiter]struct{}{}
	}
	u.waiters[w] = struct{}{}
	u.mu.Unlock()
	return w
}

func (u *user) release(w *waiter) {
	u.mu.Lock()
	delete(u.waiters, w)
	u.mu.Unlock()
	u.lastSync.Store(time.Now().UnixMilli())
}

// quietFor is how long ago the user last had a request woken.
func (u *user) quietFor(now time.Time) time.Duration {
	return now.Sub(time.UnixMilli(u.lastWoken.Load()))
}

// wakeUp has the user's waiting requests look for what is new.
func (u *user) wakeUp() {
	var parked []*httpapi.Parked
	u.lastWoken.Store(time.Now().UnixMilli())
	u.mu.Lock()
	u.queued = false
	for w := range u.waiters {
		if w.parked != nil {
			parked = append(parked, w.parked)
			continue
		}
		select {
		case w.woken <- struct{}{}:
		default:
		}
	}
	u.mu.Unlock()
	for _, p := range parked { // releases the waiter
		p.Resume()
	}
}

// park has the request wait without a goroutine; it reports false if that can't
// be. What happened in the meantime isn't missed: it has it resumed at once.
func (q *request) park(r *http.Request, w *waiter, until time.Time) (bool, error) {
	u := q.u
	parked, err := httpapi.Park(r, httpapi.Wait{Until: until, Expired: q.nothingNew, Ended: func() { u.release(w) }})
	if err == nil {
		return false, nil
	}
	u.mu.Lock()
	w.parked = parked
	missed := len(w.woken) > 0
	u.mu.Unlock()
	if missed {
		parked.Resume()
	}
	return true, err
}

// nothingNew is the answer to a request whose time is up without news; nil if there
// are any, or if memory doesn't know all of the answer.
func (q *request) nothingNew() []byte {
	m := q.quiet()
	if m == nil {
		return nil
	}
	counts, ok := q.api.db.KnownKeyCounts(q.u.id, q.requester.DeviceID)
	if !ok {
		return nil
	}
	return q.finish(nil, m, counts)
}
