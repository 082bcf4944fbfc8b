package syncapi

import (
	"context"
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
	// index is where it is among the user's waiters, -1 if it isn't.
	index int
}

// wait registers a new waiter; it must be released.
func (u *user) wait() *waiter {
	w := &waiter{woken: make(chan struct{}, 1), index: -1}
	u.register(w)
	return w
}

func (u *user) register(w *waiter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if w.parked = nil; w.index < 0 {
		w.index = len(u.waiters)
		u.waiters = append(u.waiters, w)
	}
}

func (u *user) release(w *waiter) {
	u.mu.Lock()
	if w.index >= 0 {
		last := len(u.waiters) - 1
		u.waiters[w.index] = u.waiters[last]
		u.waiters[w.index].index = w.index
		u.waiters[last], u.waiters, w.index = nil, u.waiters[:last], -1
	}
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
	for _, w := range u.waiters {
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

// park has the request wait without a goroutine; it reports false if that can't be.
func (q *request) park(r *http.Request, w *waiter, until time.Time) (bool, error) {
	u := q.u
	_, err := httpapi.Park(r, httpapi.Wait{
		Until: until, Expired: q.nothingNew,
		Parked: func(k *httpapi.Parked) { u.parked(w, k) },
		Ended:  func() { u.release(w) },
		Again:  func(r *http.Request) (time.Duration, bool) { return q.again(w, r) },
	})
	return err != nil, err
}

// parked notes that the waiter waits as k. What happened in the meantime isn't
// missed: it has the request resumed at once.
func (u *user) parked(w *waiter, k *httpapi.Parked) {
	u.mu.Lock()
	w.parked = k
	missed := len(w.woken) > 0
	u.mu.Unlock()
	if missed {
		k.Resume()
	}
}

// poll answers a request with what look finds to tell, at the latest when its time is up: then
// look is told that it is asked for the last time. The waiter is registered before looking,
// so that nothing is missed between. While nothing happens the request is parked. It ends early
// when another takes its place.
func (q *request) poll(r *http.Request, superseded <-chan struct{}, park func(*http.Request, *waiter, time.Time) (bool, error),
	look func(last bool) ([]byte, error)) (_ any, err error) {
	w := q.u.wait()
	parked := false
	defer func() {
		if !parked {
			q.u.release(w)
		}
	}()
	until := q.until(r)
	for mayPark := true; ; {
		left := until.Sub(q.now)
		if b, err := look(left <= 0); b != nil || err != nil {
			return httpapi.Raw(b), err
		}
		pause := left
		if mayPark && left > parkAfter {
			if q.u.quietFor(q.now) > parkAfter {
				if parked, err = park(r, w, until); parked {
					return nil, err
				}
				mayPark = false
			}
			pause = parkAfter
		}
		closing, err := q.api.pause(r.Context(), w, pause, superseded)
		if err != nil {
			return nil, err
		}
		if q.now = time.Now(); closing {
			until = q.now
		}
	}
}

// until is how long the request waits at most.
func (q *request) until(r *http.Request) time.Time {
	if resumed := httpapi.ResumedUntil(r); !resumed.IsZero() {
		return resumed
	}
	return q.now.Add(q.timeout)
}

// pause waits until the request is woken, or superseded by another, but no longer than d.
func (a *API) pause(ctx context.Context, w *waiter, d time.Duration, superseded <-chan struct{}) (closing bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.woken:
	case <-timer.C:
	case <-superseded:
		return true, nil
	case <-a.closing:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return false, nil
}

// again has the waiter wait once more, for the request that a client sends who was
// answered with nothing; nil is the same as before. It returns for how long, and false if
// there is something to do for it first.
func (q *request) again(w *waiter, r *http.Request) (time.Duration, bool) {
	if r != nil {
		next, err := q.api.parse(r.URL.Query(), q.requester)
		if err != nil || next.filterText != q.filterText {
			return 0, false
		}
		next.u, next.filter = q.u, q.filter
		*q = *next
	}
	q.u.register(w)
	h := q.api.hub
	h.mu.RLock()
	followed := h.users[q.u.id] == q.u
	h.mu.RUnlock()
	_, write := q.api.presenceOfSync(q.u.id, q.presence, time.Now())
	if !followed || write || q.initial || q.fullState || q.hasNews() || q.timeout <= parkAfter {
		q.u.release(w)
		return 0, false
	}
	return q.timeout, true
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
