package push

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxPushers bounds the pushers of one user.
	maxPushers = 50
	// maxRuns bounds the pushers that are being told at the same time, and maxReads those
	// for which the database is read: clients need it too.
	maxRuns, maxReads = 100, 4
	// minPause and maxPause bound how long a gateway that fails is left alone, and after
	// maxFailing what it missed is given up.
	minPause, maxPause = time.Second, time.Hour
	maxFailing         = 24 * time.Hour
	// maxStopping bounds how long Stop waits for gateways.
	maxStopping = 3 * time.Second
	// advanceEvery is how often pushers that have nothing to tell are moved on, so that
	// after a crash little is read again.
	advanceEvery = 10 * time.Minute
)

// errGone is the result of telling a pusher that has been deleted.
var errGone = errors.New("the pusher is gone")

// SenderOptions are those of NewSender. All but Logger are needed.
type SenderOptions struct {
	DB    *storage.DB
	Rooms *roomserver.Server
	Book  *Book
	// AllowPrivateGateways lets push gateways be at private addresses, and without TLS.
	AllowPrivateGateways bool
	Logger               *slog.Logger
}

// Sender tells push gateways what users are to be notified of. Like the sender to other
// servers it copies nothing: each pusher has a place in the stream, kept in the database,
// up to which it has been told everything. All methods are safe for concurrent use.
type Sender struct {
	o       SenderOptions
	db      *storage.DB
	log     *slog.Logger
	gateway *gateway
	// ctx is that of requests, quit ends first: nothing new is begun.
	ctx, quit          context.Context
	cancel, cancelQuit context.CancelFunc
	all                sync.WaitGroup
	runs               chan struct{}
	reads              chan struct{}

	// people are those with pushers. Its lock guards the lines, head and stopped.
	people *audience[map[storage.PusherKey]*line]
	// head is how far the stream was looked through for whom it concerns.
	head    storage.Position
	stopped bool

	mu      sync.Mutex
	batches []*storage.Batch // not looked through yet
	wake    chan struct{}
}

// line is a pusher and what there is to do for it.
type line struct {
	key storage.PusherKey
	todo
	// running: somebody is at it, or will be again after a pause.
	running bool
	// unread is the user's unread count by room, nil until counted.
	unread map[int64]int
	// badge is the count that was told last, -1 for none. Like what follows it is the
	// run's alone.
	badge        int
	pause        time.Duration
	failingSince time.Time
}

// todo is where something has happened that a pusher may have to be told of.
type todo struct {
	rooms map[int64]bool
	// all: in any room, for all that is known.
	all bool
	// invited: there are invitations. read: the counts may have gone down.
	invited, read bool
}

func (t todo) empty() bool { return len(t.rooms) == 0 && !t.all }

// NewSender goes on telling from where it was left, and follows the stream. Stop ends
// it.
func NewSender(ctx context.Context, o SenderOptions) (*Sender, error) {
	s := &Sender{o: o, db: o.DB, log: o.Logger, gateway: newGateway(o.AllowPrivateGateways),
		runs: make(chan struct{}, maxRuns), reads: make(chan struct{}, maxReads),
		people: newAudience[map[storage.PusherKey]*line](), wake: make(chan struct{}, 1)}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.quit, s.cancelQuit = context.WithCancel(s.ctx)
	s.db.Stream.Follow(s.follow)
	s.head = s.db.Stream.Position()
	positions, err := s.db.PusherPositions(ctx)
	if err != nil {
		return nil, err
	}
	users := make([]string, 0, len(positions))
	for k := range positions {
		users = append(users, k.UserID)
	}
	if err := s.people.add(ctx, s.db, users...); err != nil {
		return nil, err
	}
	s.people.mu.Lock()
	for k, p := range positions {
		s.start(k, todo{all: p < s.head, invited: true})
	}
	s.people.mu.Unlock()
	s.all.Go(s.dispatch)
	s.all.Go(s.advanceIdle)
	return s, nil
}

// Stop lets what is on its way end, but not for long; the next start goes on from there.
func (s *Sender) Stop() {
	s.people.mu.Lock()
	s.stopped = true
	s.people.mu.Unlock()
	s.cancelQuit()
	defer time.AfterFunc(maxStopping, s.cancel).Stop()
	s.all.Wait()
	if err := s.advance(context.Background()); err != nil {
		s.log.Error("pushers couldn't be moved on", "err", err)
	}
}

// Set makes a pusher or changes it. Its Position is filled in. Unless share is true,
// other users' pushers with the same key are deleted. Errors are Matrix errors and
// storage.ErrTooMany.
func (s *Sender) Set(ctx context.Context, p storage.Pusher, share bool) error {
	target, _, err := splitData(p.Data)
	if err != nil {
		return err
	}
	if err := s.gateway.check(target); err != nil {
		return err
	}
	p.Position = s.db.Stream.Position()
	if err := s.db.SetPusher(ctx, p, share, maxPushers); err != nil {
		return err
	}
	if err := s.people.add(ctx, s.db, p.UserID); err != nil {
		return err
	}
	s.people.mu.Lock()
	defer s.people.mu.Unlock()
	// What came between the position and now may have been looked through without it.
	s.start(p.PusherKey, todo{all: true, invited: true})
	return nil
}

// start takes a pusher in. The people's lock is held.
func (s *Sender) start(k storage.PusherKey, t todo) {
	who := s.people.users[k.UserID]
	if who == nil {
		return // the last of their pushers was rejected meanwhile
	}
	if who.of == nil {
		who.of = map[storage.PusherKey]*line{}
	}
	l := who.of[k]
	if l == nil {
		l = &line{key: k, badge: -1}
		who.of[k] = l
	}
	s.add(l, t)
}

// add gives a pusher something to do. The people's lock is held.
func (s *Sender) add(l *line, t todo) {
	if l.rooms == nil {
		l.rooms = map[int64]bool{}
	}
	for room := range t.rooms {
		l.rooms[room] = true
	}
	l.all, l.invited, l.read = l.all || t.all, l.invited || t.invited, l.read || t.read
	if !l.running && !l.empty() && !s.stopped {
		l.running = true
		s.all.Go(func() { s.run(l) })
	}
}

// take takes what is to be done, up to the position that is returned; ok is false if
// there is nothing.
func (s *Sender) take(l *line) (t todo, upTo storage.Position, ok bool) {
	s.people.mu.Lock()
	defer s.people.mu.Unlock()
	if l.empty() || s.stopped {
		l.running = false
		return t, 0, false
	}
	t, l.todo = l.todo, todo{}
	return t, s.head, true
}

// run tells a pusher what there is, until there is nothing left or it fails.
func (s *Sender) run(l *line) {
	select {
	case s.runs <- struct{}{}:
	case <-s.quit.Done():
		return
	}
	defer func() { <-s.runs }()
	for {
		t, upTo, ok := s.take(l)
		if !ok {
			return
		}
		err := s.tellAll(l, t, upTo)
		if err == nil {
			l.pause, l.failingSince = 0, time.Time{}
			continue
		}
		if errors.Is(err, errGone) {
			s.forget(l)
			return
		}
		if l.failingSince.IsZero() {
			l.failingSince = time.Now()
		}
		if time.Since(l.failingSince) > maxFailing && s.quit.Err() == nil {
			s.log.Warn("a push gateway has failed for long; what it missed is given up", "user", l.key.UserID, "app", l.key.AppID, "err", err)
			if err = s.db.SetPusherPosition(s.ctx, l.key, upTo); err == nil {
				l.failingSince = time.Time{}
				continue
			}
		}
		s.later(l, t, err)
		return
	}
}

// later has a pusher that failed go on after a pause, which grows.
func (s *Sender) later(l *line, t todo, err error) {
	l.pause = min(max(2*l.pause, minPause), maxPause)
	s.people.mu.Lock()
	defer s.people.mu.Unlock()
	s.add(l, t)
	if s.stopped {
		return
	}
	s.log.Info("telling a push gateway failed", "user", l.key.UserID, "app", l.key.AppID, "again_in", l.pause, "err", err)
	time.AfterFunc(l.pause/2+rand.N(l.pause/2+1), func() {
		s.people.mu.Lock()
		defer s.people.mu.Unlock()
		if !s.stopped {
			s.all.Go(func() { s.run(l) })
		}
	})
}

// forget forgets a pusher that is gone.
func (s *Sender) forget(l *line) {
	s.people.mu.Lock()
	defer s.people.mu.Unlock()
	l.running = false
	who := s.people.users[l.key.UserID]
	if who == nil {
		return
	}
	if !l.empty() { // it was made again meanwhile
		s.add(l, todo{})
		return
	}
	if delete(who.of, l.key); len(who.of) == 0 {
		s.people.remove(who.id)
	}
}

// advanceIdle moves on, now and then, those that have nothing to tell.
func (s *Sender) advanceIdle() {
	ticker := time.NewTicker(advanceEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.advance(s.ctx); err != nil && s.quit.Err() == nil {
				s.log.Error("pushers couldn't be moved on", "err", err)
			}
		case <-s.quit.Done():
			return
		}
	}
}

func (s *Sender) advance(ctx context.Context) error {
	s.people.mu.RLock()
	head := s.head
	var busy []storage.PusherKey
	for _, who := range s.people.users {
		for _, l := range who.of {
			if l.running || !l.empty() {
				busy = append(busy, l.key)
			}
		}
	}
	s.people.mu.RUnlock()
	return s.db.AdvancePushers(ctx, head, busy)
}
