package federationapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
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
}

// destination is a server to which events are sent, one transaction at a time.
type destination struct {
	name   string
	cursor storage.Position
	wake   chan struct{}
}

func newSender(a *API) *sender {
	ctx, cancel := context.WithCancel(context.Background())
	return &sender{a: a, ctx: ctx, cancel: cancel, servers: map[string]*destination{}}
}

// StartSending goes on sending from where it was left, and follows the stream.
func (a *API) StartSending(ctx context.Context) error {
	cursors, err := a.db.FederationCursors(ctx)
	if err != nil {
		return err
	}
	a.db.Stream.Follow(a.sender.follow)
	a.sender.advance(a.db.Stream.Position())
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

// follow wakes the destinations of what was committed.
func (s *sender) follow(b *storage.Batch) {
	s.advance(b.Position)
	for _, c := range b.Changes {
		if c.Room == nil {
			continue
		}
		for _, e := range c.Room.Events {
			if e.Flags == 0 && e.Position != 0 && domainOf(e.Sender) == s.a.serverName {
				v := &roomserver.View{Room: c.Room.Room, State: c.Room.StateAfter}
				s.concerns(e, v)
			}
		}
	}
}

func (s *sender) advance(p storage.Position) {
	for old := s.head.Load(); old < p && !s.head.CompareAndSwap(old, p); {
		old = s.head.Load()
	}
}

// concerns wakes those whom an event concerns; one that is new begins with it.
func (s *sender) concerns(e *storage.Event, v *roomserver.View) {
	for server := range s.a.destinationsOf(e, v) {
		s.mu.Lock()
		d := s.servers[server]
		s.mu.Unlock()
		if d == nil {
			d = s.start(server, e.Position-1)
		}
		d.poke()
	}
}

// destinationsOf are the other servers that an event concerns: those in the room and,
// of a membership, that of its user, who may have left by it. An invited user's
// server has been given the invitation already.
func (a *API) destinationsOf(e *storage.Event, v *roomserver.View) map[string]bool {
	list := map[string]bool{}
	for server := range a.rooms.JoinedServers(v) {
		list[server] = true
	}
	if e.Type == "m.room.member" && e.IsState() && gjson.GetBytes(e.JSON, "content.membership").Str != "invite" {
		list[domainOf(*e.StateKey)] = true
	}
	delete(list, a.serverName)
	for server := range list {
		if _, _, ok := client.SplitServerName(server); !ok || a.client.Allowed(server) != nil {
			delete(list, server)
		}
	}
	return list
}

func (s *sender) start(server string, cursor storage.Position) *destination {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.servers[server]; d != nil {
		return d
	}
	d := &destination{name: server, cursor: cursor, wake: make(chan struct{}, 1)}
	s.servers[server] = d
	d.poke()
	s.all.Go(func() { s.run(d) })
	return d
}

func (d *destination) poke() {
	select {
	case d.wake <- struct{}{}:
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

func (s *sender) isConcerned(server string, e *storage.Event) (bool, error) {
	v, err := s.a.rooms.View(s.ctx, e.RoomID)
	if err != nil {
		return false, err
	}
	return s.a.destinationsOf(e, v)[server], nil
}

func (s *sender) send(server string, pdus []json.RawMessage) error {
	_, err := s.a.client.Do(s.ctx, client.Request{
		Method: http.MethodPut, Server: server, URI: client.Path("/_matrix/federation/v1/send", rand.Text()),
		Body: map[string]any{"origin": s.a.serverName, "origin_server_ts": time.Now().UnixMilli(), "pdus": pdus},
	})
	var refused *client.RemoteError
	var own *httpapi.Error
	if errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusTooManyRequests || errors.As(err, &own) {
		s.a.log.Warn("a server refused a transaction", "server", server, "err", err)
		return nil // it would refuse it again
	}
	return err
}

// domainOf is the server name in an id.
func domainOf(id string) string {
	_, domain, _ := strings.Cut(id, ":")
	return domain
}
