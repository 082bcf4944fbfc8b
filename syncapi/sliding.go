package syncapi

import (
	"context"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/storage"
)

// slide is one request of sliding sync. What it shares with /sync is request's.
type slide struct {
	*request
	wire   *wire
	params *slidingParams
	owner  device
	pos    slidingPos
	// toDevice is up to where the client has received messages to the device.
	toDevice storage.Position
	// sticky is up to where the client has been told of sticky events.
	sticky storage.Position
	// c is nil for a client that asks for no rooms, and base what it was told of rooms.
	c    *connection
	base told
	// superseded is closed when the client has sent another request in place of this one.
	superseded <-chan struct{}
	// usedBefore is when the connection was last used, zero for a new one.
	usedBefore time.Time
}

// postUnstableSync answers POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync,
// which clients speak that were there before the proposal was accepted.
func (a *API) postUnstableSync(r *http.Request, u *httpapi.Requester) (any, error) {
	return a.slide(r, u, wireUnstable)
}

// postSync answers POST /_matrix/client/v4/sync.
//
// https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md
func (a *API) postSync(r *http.Request, u *httpapi.Requester) (any, error) {
	return a.slide(r, u, wireV4)
}

func (a *API) slide(r *http.Request, u *httpapi.Requester, w *wire) (any, error) {
	params, err := w.read(r, u.UserID)
	if err != nil {
		return nil, err
	}
	q := &slide{wire: w, params: params, owner: device{u.UserID, u.DeviceID},
		request: &request{api: a, requester: u, filter: everything, now: time.Now(), timeout: params.timeout, initial: params.pos == ""}}
	now := a.hub.now()
	if q.toDevice, err = params.extensions.ToDevice.since("to_device", now); err != nil {
		return nil, err
	}
	if q.sticky, err = params.extensions.Sticky.since(stickyExtension, now); err != nil {
		return nil, err
	}
	if q.u, err = a.user(r.Context(), u.UserID); err != nil {
		return nil, err
	}
	if err := q.connect(); err != nil {
		return nil, err
	}
	if err := a.present(r.Context(), u.UserID, params.presence); err != nil {
		return nil, err
	}
	return q.answer(r)
}

// connect finds out where the client stands.
func (q *slide) connect() error {
	all, id := q.api.connections, q.params.connID
	if !q.initial {
		var ok bool
		if q.pos, ok = all.read(q.params.pos, q.owner, id); !ok || q.pos.position > q.api.hub.now() {
			return unknownPos()
		}
		q.since = token.SyncAt(q.pos.position, q.pos.typing)
	}
	if q.pos.serial == 0 {
		if len(q.params.lists)+len(q.params.subscriptions) == 0 {
			return nil
		}
		q.c = all.begin(q.owner, id)
		q.superseded = q.c.enter()
		return nil
	}
	if q.c, q.usedBefore = all.find(q.owner, id); q.c == nil {
		return unknownPos()
	}
	q.superseded = q.c.enter()
	q.c.mu.Lock()
	defer q.c.mu.Unlock()
	if !q.c.resume(q.pos.serial) {
		return unknownPos()
	}
	return nil
}

// answer waits until there is something to tell, or for the timeout, and tells it. What
// the client asks for may have changed, so that the rooms are looked at before the first
// wait even without news.
func (q *slide) answer(r *http.Request) (any, error) {
	return q.poll(r, q.superseded, q.park, func(last bool) ([]byte, error) {
		last = last || q.initial
		if !last && !q.hasNews() && q.settled() {
			return nil, nil
		}
		return q.build(r.Context(), last)
	})
}

// park has the request wait without a goroutine; it reports false if that can't be. If
// another takes its place it is answered with nothing.
func (q *slide) park(r *http.Request, w *waiter, until time.Time) (bool, error) {
	_, err := httpapi.Park(r, httpapi.Wait{
		Until: until,
		Parked: func(k *httpapi.Parked) {
			if q.c != nil {
				q.c.park(q.superseded, func() { k.Answer(q.nothing()) })
			}
			q.u.parked(w, k)
		},
		Ended: func() {
			if q.c != nil {
				q.c.unpark(q.superseded)
			}
			q.u.release(w)
		},
	})
	return err != nil, err
}

// settled reports whether the client asks for the same as before, so that only news can
// bring something about.
func (q *slide) settled() bool {
	if q.c == nil {
		return !q.initial
	}
	q.c.mu.Lock()
	defer q.c.mu.Unlock()
	return q.sameWanted()
}

func (q *slide) sameWanted() bool { return !q.initial && (q.c == nil || q.c.wanted == q.params.wanted) }

// hasNews reports whether anything that the client asks for may have happened since its
// pos; without it there is no need to look.
func (q *slide) hasNews() bool {
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	return q.newsInMemory()
}

// newsInMemory is hasNews for who holds the hub's lock.
func (q *slide) newsInMemory() bool {
	x := &q.params.extensions
	return q.u.news.Load() > q.pos.position || q.u.typing.Load() > q.pos.typing ||
		x.E2EE.Enabled && q.u.deviceNews.Load() > q.pos.devices || x.ToDevice.Enabled && q.mayHaveMessages() ||
		x.Sticky.Enabled && q.sticky < q.pos.position
}

// quiet returns what there is to say if nothing happened, without a look at the rooms; nil
// if something did.
func (q *slide) quiet() *overview {
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	if q.newsInMemory() {
		return nil
	}
	return &overview{selection: &selection{position: h.position, typing: h.typingSerial.Load(), devices: h.devicesUpTo, counts: q.base.counts}}
}

// mayHaveMessages reports whether messages to the device may be waiting. The hub's lock is
// held.
func (q *slide) mayHaveMessages() bool {
	return q.toDevice < q.u.followedFrom || q.u.toDevice[q.requester.DeviceID] > q.toDevice
}

// build writes the answer, nil if there is nothing to tell and this isn't the last chance.
// The connection's lock keeps other requests of the same connection waiting meanwhile.
func (q *slide) build(ctx context.Context, last bool) ([]byte, error) {
	if q.c != nil {
		q.c.mu.Lock()
		defer q.c.mu.Unlock()
		select {
		case <-q.superseded: // whatever is said now isn't heard
			return q.nothing(), nil
		default:
		}
		q.base = q.c.told
	}
	if q.sameWanted() {
		if v := q.quiet(); v != nil {
			return q.sayNothing(ctx, v, last)
		}
	}
	s, err := q.choose(ctx)
	if err != nil {
		return nil, err
	}
	v, err := q.look(ctx, s)
	if err != nil {
		return nil, err
	}
	e, err := q.extend(ctx, v)
	if err != nil {
		return nil, err
	}
	if !last && !v.anyRoom() && e.empty() && !q.hasSent() {
		return nil, nil
	}
	pos := slidingPos{position: s.position, typing: s.typing, devices: s.devices, serial: q.remember(v)}
	return q.write(pos, v, e), nil
}

// hasSent reports whether the user has sent something encrypted since the client's pos. A client
// with a connection for encryption alone backs up the keys of what it sends at each answer there.
func (q *slide) hasSent() bool {
	return q.params.extensions.E2EE.Enabled && q.u.encrypted.Load() > int64(q.pos.position)
}

// sayNothing writes the answer when nothing happened.
func (q *slide) sayNothing(ctx context.Context, v *overview, last bool) ([]byte, error) {
	if !last {
		return nil, nil
	}
	x := &extended{toDevice: max(v.position, q.toDevice), stickyUpTo: v.position}
	if q.params.extensions.E2EE.Enabled {
		var err error
		if x.keys, err = q.api.db.GetKeyCounts(ctx, q.u.id, q.requester.DeviceID); err != nil {
			return nil, err
		}
	}
	return q.write(slidingPos{position: v.position, typing: v.typing, devices: v.devices, serial: q.pos.serial}, v, x), nil
}

// remember keeps what the answer tells, and returns its serial.
func (q *slide) remember(v *overview) int64 {
	c := q.c
	if c == nil {
		return 0
	}
	a := &answered{serial: q.api.connections.serial(), told: told{rooms: v.told, wanted: q.params.wanted, counts: v.counts}}
	c.answer = a
	q.api.connections.measure(q.owner, q.params.connID, c, c.size(), c.full())
	return a.serial
}

// nothing is the answer to a request in the place of which another has come: it leaves the
// client where it was.
func (q *slide) nothing() []byte {
	b := appendJSON([]byte(`{"pos":`), q.params.pos)
	return append(b, `,"lists":{},"rooms":{},"extensions":{}}`...)
}
