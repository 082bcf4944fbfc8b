package federationapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxRead bounds the events that are read at a time to find those of a server.
	maxRead = 500
	// maxTransaction bounds a transaction's events, in bytes.
	maxTransaction = 1 << 20
	// minPause and maxPause bound how long a server that can't be reached is left alone.
	minPause, maxPause = time.Second, time.Hour
)

// sender sends this server's events to the others that are in their rooms. What a
// server has still to get isn't copied anywhere: each has a place in the stream, kept
// in the database, up to which it has been sent everything.
type sender struct {
	a      *API
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	// head is the newest position that was followed: the stream's own is behind it while
	// its followers are told.
	head atomic.Int64

	mu      sync.Mutex
	servers map[string]*destination
	// pending is what was committed and whose destinations haven't been woken, by room.
	pending map[int64]*pendingRoom
	wake    chan struct{}
}

// pendingRoom is a room in which this server's users did something.
type pendingRoom struct {
	view *roomserver.View
	// from is the position of the first event, and others are servers that an event
	// concerns besides those in the room.
	from   storage.Position
	others map[string]bool
}

// destination is a server to which events are sent, one transaction at a time.
type destination struct {
	name   string
	cursor storage.Position
	wake   chan struct{}
}

func newSender(a *API) *sender {
	ctx, cancel := context.WithCancel(context.Background())
	return &sender{a: a, ctx: ctx, cancel: cancel, servers: map[string]*destination{},
		pending: map[int64]*pendingRoom{}, wake: make(chan struct{}, 1)}
}

// StartSending goes on sending from where it was left, and follows the stream.
func (a *API) StartSending(ctx context.Context) error {
	cursors, err := a.db.FederationCursors(ctx)
	if err != nil {
		return err
	}
	a.db.Stream.Follow(a.sender.follow)
	a.sender.advance(a.db.Stream.Position())
	a.sender.all.Go(a.sender.dispatch)
	for server, p := range cursors {
		a.sender.start(server, p)
	}
	return nil
}

// StopSending waits until what is on its way has been sent or given up.
func (a *API) StopSending() {
	a.sender.cancel()
	a.sender.all.Wait()
}

// follow notes in which rooms this server's users did something. It runs on the
// stream's writer; finding the destinations, which goes through the members of a room
// whose state has changed, is left to dispatch.
func (s *sender) follow(b *storage.Batch) {
	s.advance(b.Position)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range b.Changes {
		if c.Room == nil {
			continue
		}
		for _, e := range c.Room.Events {
			if e.Flags == 0 && e.Position != 0 && userid.Domain(e.Sender) == s.a.serverName {
				s.note(c.Room, e)
			}
		}
	}
	if len(s.pending) > 0 {
		poke(s.wake)
	}
}

// note has an event's destinations woken. The lock is held.
func (s *sender) note(c *storage.RoomChange, e *storage.Event) {
	p := s.pending[c.Room.NID]
	if p == nil {
		p = &pendingRoom{from: e.Position, others: map[string]bool{}}
		s.pending[c.Room.NID] = p
	}
	p.view = &roomserver.View{Room: c.Room, State: c.StateAfter}
	if server := targetOf(e); server != "" {
		p.others[server] = true
	}
}

// targetOf is the server of a membership's user, who may have left by it, "" for other
// events. An invited user's server has been given the invitation already.
func targetOf(e *storage.Event) string {
	if e.Type == "m.room.member" && e.IsState() && gjson.GetBytes(e.JSON, "content.membership").Str != "invite" {
		return userid.Domain(*e.StateKey)
	}
	return ""
}

// dispatch wakes the destinations of what follow noted; a new one begins with the
// first event that concerns it.
func (s *sender) dispatch() {
	for {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		pending := s.pending
		s.pending = map[int64]*pendingRoom{}
		s.mu.Unlock()
		for _, p := range pending {
			for server := range s.a.rooms.JoinedServers(p.view) {
				p.others[server] = true
			}
			for server := range p.others {
				if s.a.mayBeSent(server) {
					poke(s.start(server, p.from-1).wake)
				}
			}
		}
	}
}

// mayBeSent reports whether events are sent to the server at all.
func (a *API) mayBeSent(server string) bool {
	_, _, ok := client.SplitServerName(server)
	return ok && server != a.serverName && a.client.Allowed(server) == nil
}

func (s *sender) advance(p storage.Position) {
	for old := s.head.Load(); old < p && !s.head.CompareAndSwap(old, p); {
		old = s.head.Load()
	}
}

// start returns a destination, which is made with the cursor if it is new.
func (s *sender) start(server string, cursor storage.Position) *destination {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.servers[server]; d != nil {
		return d
	}
	d := &destination{name: server, cursor: cursor, wake: make(chan struct{}, 1)}
	s.servers[server] = d
	poke(d.wake)
	s.all.Go(func() { s.run(d) })
	return d
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// run sends a server what concerns it, until the sender is stopped.
func (s *sender) run(d *destination) {
	if err := s.a.db.SetFederationCursor(s.ctx, d.name, d.cursor); err != nil && s.ctx.Err() == nil {
		s.a.log.Error("a server's place couldn't be stored", "server", d.name, "err", err)
	}
	pause := minPause
	for {
		select {
		case <-d.wake:
		case <-s.ctx.Done():
			return
		}
		for {
			more, err := s.sendSome(d)
			if s.ctx.Err() != nil {
				return
			}
			if err != nil {
				s.a.log.Info("sending to a server failed", "server", d.name, "again_in", pause, "err", err)
				if !s.sleep(pause/2 + mathrand.N(pause/2+1)) {
					return
				}
				pause = min(2*pause, maxPause)
				continue
			}
			pause = minPause
			if !more {
				break
			}
		}
	}
}

func (s *sender) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// sendSome sends at most one transaction and moves the server's place on.
func (s *sender) sendSome(d *destination) (more bool, err error) {
	upTo := s.head.Load()
	events, err := s.a.db.EventsBySendersOf(s.ctx, s.a.serverName, d.cursor, upTo, maxRead)
	if err != nil {
		return false, err
	}
	var pdus []json.RawMessage
	size, reached, whole := 0, d.cursor, true
	for _, e := range events {
		concerned, err := s.isConcerned(d.name, e)
		if err != nil {
			return false, err
		}
		if concerned {
			if len(pdus) == maxPDUs || size+len(e.JSON) > maxTransaction {
				whole = false
				break
			}
			pdus = append(pdus, e.JSON)
			size += len(e.JSON)
		}
		reached = e.Position
	}
	if whole && len(events) < maxRead {
		reached = upTo
	}
	if len(pdus) > 0 {
		if err := s.send(d.name, pdus); err != nil {
			return false, err
		}
	}
	d.cursor = reached
	return reached < upTo, s.a.db.SetFederationCursor(s.ctx, d.name, reached)
}

// isConcerned reports whether a server is to be sent an event: one that was in the
// room then. Who has come since mustn't learn by this what was said before.
func (s *sender) isConcerned(server string, e *storage.Event) (bool, error) {
	if targetOf(e) == server {
		return true, nil
	}
	joined, err := s.a.rooms.JoinedServersBefore(s.ctx, e)
	return joined[server] > 0, err
}

func (s *sender) send(server string, pdus []json.RawMessage) error {
	_, err := s.a.client.Do(s.ctx, client.Request{
		Method: http.MethodPut, Server: server, URI: client.Path("/_matrix/federation/v1/send", rand.Text()), Force: true, // run pauses
		Body: map[string]any{"origin": s.a.serverName, "origin_server_ts": time.Now().UnixMilli(), "pdus": pdus},
	})
	if err != nil && isFinal(err) {
		s.a.log.Warn("a server refused a transaction", "server", server, "err", err)
		return nil
	}
	return err
}

// isFinal reports whether a transaction would be refused again however often it is
// sent. That its sender isn't known, or isn't let in, may be over in a while.
func isFinal(err error) bool {
	var own *httpapi.Error
	if errors.As(err, &own) {
		return true // this server doesn't talk with that one
	}
	var refused *client.RemoteError
	return errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusRequestEntityTooLarge)
}
