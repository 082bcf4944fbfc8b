package federationapi

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hearth/federationapi/client"
	"hearth/storage"
)

const (
	// presenceEvery is how often who is online is told, if there is nothing else to tell.
	presenceEvery = 3 * time.Second
	// tidyEvery is how often the places of servers that were sent everything are stored.
	tidyEvery = 5 * time.Minute
	// retryDispatch is how long to wait for a database that doesn't answer.
	retryDispatch = time.Second
)

// sender sends the others what this server's users do. What a server has still to get
// isn't copied anywhere: each has a place in the stream, kept in the database, up to which
// it has been sent everything.
//
// dispatch goes through the stream once for all and finds whom things concern. A server
// for which there is something is then served by one of a bounded number of workers.
type sender struct {
	a      *API
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup
	// started tells this run of the program from others.
	started int64

	// followed is how far the stream was followed, head how far it was dispatched: the
	// servers that anything up to there concerns have a place. Up to settled they have also
	// been poked.
	followed, head, settled atomic.Int64
	tail                    tail
	catchUp                 int // see maxCatchUp
	wake                    chan struct{}

	mu      sync.Mutex
	stopped bool
	servers map[string]*destination
	// heard is when servers were last heard of.
	heard *lru.Cache[string, time.Time]
	// quiet are servers for which there is nothing but who is online.
	quiet []*destination
	// reached serves the servers that answered last, doubtful all others: they don't take
	// the reached ones' workers.
	reached, doubtful pool[*destination]
}

func newSender(a *API) *sender {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sender{a: a, ctx: ctx, cancel: cancel, servers: map[string]*destination{}, wake: make(chan struct{}, 1), catchUp: maxCatchUp, started: time.Now().UnixNano()}
	var err error
	if s.heard, err = lru.New[string, time.Time](maxHeard); err != nil {
		panic(err) // only for a size that isn't positive
	}
	s.reached.workers, s.doubtful.workers = 256, 64
	return s
}

// dispatched is the name under which the place of dispatch itself is stored.
const dispatched = ""

// StartSending goes on sending from where it was left, and follows the stream.
func (a *API) StartSending(ctx context.Context) error {
	s := a.sender
	cursors, err := a.db.FederationCursors(ctx)
	if err != nil {
		return err
	}
	missed, err := a.db.UnannouncedDevices(ctx, "")
	if err != nil {
		return err
	}
	a.db.Stream.Follow(s.follow)
	a.db.Stream.Follow(a.followDevices)
	now := a.db.Stream.Position()
	s.tail.mu.Lock()
	s.tail.from = max(s.tail.from, now)
	s.tail.mu.Unlock()
	s.advance(now)
	head, known := now, false
	for _, c := range cursors {
		if c.Server == dispatched {
			head, known = c.Position, true
		}
	}
	s.head.Store(head)
	s.settled.Store(head)
	if !known {
		if err := a.db.SetFederationCursor(ctx, storage.FederationCursor{Server: dispatched, Position: head}); err != nil {
			return err
		}
	}
	if len(missed) > 0 {
		if err := a.db.Stream.Append(ctx, &storage.Change{DeviceLists: missed}); err != nil {
			return err
		}
	}
	s.resumeAll(cursors)
	if err := a.members.resume(ctx); err != nil {
		return err
	}
	s.all.Go(s.dispatch)
	s.all.Go(s.tidy)
	s.all.Go(a.watchDevices)
	poke(s.wake)
	return nil
}

// goUnlessStopped runs something that StopSending waits for, unless that was called: the next
// run of the program goes on with it.
func (s *sender) goUnlessStopped(run func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.all.Go(run)
	}
	return !s.stopped
}

// StopSending waits until what is on its way has been sent or given up.
func (a *API) StopSending() {
	a.sender.mu.Lock()
	a.sender.stopped = true
	a.sender.mu.Unlock()
	a.sender.cancel()
	a.sender.all.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := a.sender.store(ctx); err != nil {
		a.log.Warn("storing how far servers were sent everything failed", "err", err)
	}
}

// follow keeps what this server's users did. It runs on the stream's writer; finding
// whom it concerns is left to dispatch.
func (s *sender) follow(b *storage.Batch) {
	if list := s.outgoingOf(b); len(list) > 0 {
		s.tail.add(list)
	}
	s.advance(b.Position)
	poke(s.wake)
}

func (s *sender) advance(p storage.Position) {
	for old := s.followed.Load(); old < p && !s.followed.CompareAndSwap(old, p); {
		old = s.followed.Load()
	}
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// dispatch finds whom things concern, and has them sent.
func (s *sender) dispatch() {
	quiet := time.NewTicker(presenceEvery)
	defer quiet.Stop()
	for {
		select {
		case <-s.wake:
		case <-quiet.C:
			s.wakeQuiet()
			continue
		case <-s.ctx.Done():
			return
		}
		for s.head.Load() < s.followed.Load() {
			if err := s.dispatchSome(); err != nil {
				if s.ctx.Err() != nil {
					return
				}
				s.a.log.Warn("finding whom to send what failed", "err", err)
				if !s.sleep(retryDispatch) {
					return
				}
			}
		}
	}
}

func (s *sender) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *sender) dispatchSome() error {
	after, upTo := s.head.Load(), s.followed.Load()
	list, known := s.tail.between(after, upTo)
	var err error
	if known {
		err = s.resolve(s.ctx, list)
	} else {
		// Not further than memory reaches back: what is there is resolved there, for all who are sent it.
		list, upTo, err = s.read(s.ctx, "", after, min(upTo, s.tail.begins()))
	}
	if err == nil {
		err = s.welcome(s.ctx, list)
	}
	if err != nil {
		return err
	}
	first := map[string]storage.Position{} // before what concerns each server first
	loud := map[string]bool{}
	for _, o := range list {
		note := func(server string) {
			if server == s.a.serverName || server == "" {
				return
			}
			if _, known := first[server]; !known {
				first[server] = o.at - 1
			}
			loud[server] = loud[server] || o.presence == nil
		}
		for server := range o.servers {
			note(server)
		}
		note(o.also)
	}
	if err := s.meet(first); err != nil {
		return err
	}
	// Only now, when all are met, may they read it.
	s.head.Store(upTo)
	for server, from := range first {
		s.poke(server, from, loud[server])
	}
	s.settled.Store(upTo)
	return nil
}

// mayBeSent reports whether anything is sent to the server at all.
func (a *API) mayBeSent(server string) bool {
	_, _, ok := client.SplitServerName(server)
	return ok && server != a.serverName && a.client.Allowed(server) == nil
}
