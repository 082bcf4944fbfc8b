package federationapi

import (
	"cmp"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"hearth/federationapi/client"
	"hearth/storage"
)

const (
	// minPause is how long a server that refuses is left alone at least.
	minPause = time.Second
	// maxTurn is how many transactions a server is sent before others get their turn.
	maxTurn = 20
	// heardEvery is how often hearing of a server ends its pause.
	heardEvery = 30 * time.Second
	// heardFor is for how long a server that was heard of is believed to be there, and
	// maxHeard bounds those that are remembered.
	heardFor, maxHeard = time.Hour, 10_000
	// maxGreeted bounds the servers that are told when this one is back.
	maxGreeted = 1000
	// earlyEvery is the time between two tries, on average, of those that failed when the program
	// ended.
	earlyEvery = 200 * time.Millisecond
)

// destination is a server to which this one sends. The sender's lock guards it.
type destination struct {
	name   string
	state  sending
	cursor storage.Position
	// again is whether something came while it was served.
	again bool
	// isQuiet is whether it waits, with its place fixed, for who is online to be told.
	isQuiet bool
	// answered is whether it took what it was sent last, and at when it did.
	answered bool
	at       time.Time
	// early is when it is tried, unless zero, however long it is to be left alone by what an
	// earlier run of the program found: this one may have been away for what it fails for.
	early time.Time
	// timer ends a pause, and pause is how long the last one was.
	timer *time.Timer
	pause time.Duration
	until time.Time
	since time.Time // of the first failure in a row
	heard time.Time
	why   string
	// most bounds what goes into a transaction after one was refused.
	most int
	// serial counts the transactions it took.
	serial int
	// greet is whether it is told that this server is back, even if there is nothing for it:
	// it may have given up on it, and waits with what it has.
	greet  bool
	typing map[typist]typingNote
}

// sending is what a destination is doing.
type sending int

const (
	idle   sending = iota // has been sent everything
	queued                // waits for a worker
	busy                  // is served by one
	paused                // has failed, and waits for its timer
)

// resumeAll takes up the servers that are known from before, and greets those that answered
// last.
func (s *sender) resumeAll(cursors []storage.FederationCursor) {
	slices.SortFunc(cursors, func(x, y storage.FederationCursor) int { return cmp.Compare(y.SucceededAt, x.SucceededAt) })
	now, spread := time.Now(), time.Duration(len(cursors))*earlyEvery
	for i, c := range cursors {
		if c.Server != dispatched {
			s.resume(c, c.SucceededAt > 0 && i < maxGreeted, now.Add(mathrand.N(spread)))
		}
	}
}

// resume takes up a server that is known from before.
func (s *sender) resume(c storage.FederationCursor, greet bool, early time.Time) {
	if !s.a.mayBeSent(c.Server) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.servers[c.Server]
	if d == nil {
		d = &destination{name: c.Server, cursor: c.Position, answered: c.SucceededAt > 0}
		s.servers[c.Server] = d
	}
	if c.SucceededAt > 0 {
		d.at = time.UnixMilli(c.SucceededAt)
	}
	d.greet, d.early = greet, early
	s.queue(d)
}

// meet gives servers that have none a place in the stream, in the database first: a crash
// mustn't forget that there is something for them.
func (s *sender) meet(from map[string]storage.Position) error {
	fresh := map[string]storage.Position{}
	s.mu.Lock()
	for server, p := range from {
		if s.servers[server] == nil && s.a.mayBeSent(server) {
			fresh[server] = p
		}
	}
	s.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	if err := s.a.db.MeetServers(s.ctx, fresh); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for server, p := range fresh {
		if s.servers[server] != nil {
			continue // was met meanwhile
		}
		at, heard := s.heard.Get(server)
		s.servers[server] = &destination{name: server, cursor: p, answered: heard && time.Since(at) < heardFor}
	}
	return nil
}

// poke has a server served: there is something after from. If it isn't loud it can wait
// a little for more.
func (s *sender) poke(server string, from storage.Position, loud bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.servers[server]
	if d == nil {
		return
	}
	if d.state == idle && !d.isQuiet {
		d.cursor = max(d.cursor, from) // up to there nothing concerned it
	}
	switch {
	case d.state == busy:
		d.again = true
	case d.state == idle && loud:
		s.queue(d)
	case d.state == idle && !d.isQuiet:
		d.isQuiet = true
		s.quiet = append(s.quiet, d)
	}
}

func (s *sender) wakeQuiet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.quiet {
		if d.isQuiet && d.state == idle {
			s.queue(d)
		}
	}
	s.quiet = nil
}

// queue has a server served when it is its turn. The lock is held.
func (s *sender) queue(d *destination) {
	if s.stopped || d.state == queued || d.state == busy {
		return
	}
	d.state, d.isQuiet = queued, false
	if d.answered {
		s.enter(&s.reached, d)
	} else {
		s.enter(&s.doubtful, d)
	}
}

// enter has a server wait for one of the pool's workers. The lock is held.
func (s *sender) enter(p *pool[*destination], d *destination) {
	p.enter(d, func() bool { s.all.Go(func() { s.work(p) }); return true })
}

// work serves those who wait, one after the other, until there are no more.
func (s *sender) work(p *pool[*destination]) {
	for {
		s.mu.Lock()
		d, more := p.next(s.stopped)
		mine := more && d.state == queued // or it was served by the other pool
		if mine {
			d.state, d.again = busy, false
		}
		s.mu.Unlock()
		if !more {
			return
		}
		if mine {
			s.serve(d)
		}
	}
}

// serve sends a server what there is, as long as it takes it and others needn't wait.
func (s *sender) serve(d *destination) {
	more := true
	var err error
	if f, known := s.a.client.Failure(s.ctx, d.name); known == nil && f.Failures > 0 {
		if pause := s.pauseOf(d, &f); pause > 0 {
			s.rest(d, pause)
			return
		}
	}
	for turn := 0; more && err == nil && turn < maxTurn; turn++ {
		more, err = s.sendSome(d)
	}
	if s.ctx.Err() != nil {
		return
	}
	if err != nil {
		s.fail(d, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.state, d.pause = idle, 0
	if more || d.again || len(d.typing) > 0 {
		s.queue(d)
	}
}

// pauseOf is how long a server that fails is still to be left alone.
func (s *sender) pauseOf(d *destination, f *storage.Destination) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.since, d.why = time.UnixMilli(f.FailingSince), f.LastError
	pause := time.Until(time.UnixMilli(f.RetryAt))
	if !d.early.IsZero() {
		pause = min(pause, time.Until(d.early))
	}
	if pause > 0 {
		d.answered = false // to be heard of ends this
	} else {
		d.early = time.Time{}
	}
	return pause
}

// fail leaves a server alone for a while. For how long one that gives no answer is, all
// that ask servers agree on; see client.Client.
func (s *sender) fail(d *destination, err error) {
	var refused *client.RemoteError
	longest := s.a.client.MaxPause()
	pause := min(max(2*d.pause, minPause), longest)
	if errors.As(err, &refused) {
		pause = max(pause, min(refused.RetryAfter, longest))
	} else if at, known := s.a.client.RetryAt(s.ctx, d.name); known == nil && !at.IsZero() {
		pause = max(minPause, time.Until(at))
	}
	s.a.log.Info("sending to a server failed", "server", d.name, "again_in", pause, "err", err)
	s.mu.Lock()
	d.pause, d.why, d.answered, d.greet, d.early = pause, err.Error(), false, false, time.Time{}
	if d.since.IsZero() {
		d.since = time.Now()
	}
	s.mu.Unlock()
	s.rest(d, pause-mathrand.N(pause/4))
}

// rest pauses a server.
func (s *sender) rest(d *destination, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(d.typing) // nobody wants to know it later
	if d.pause == 0 {
		d.pause = pause // it failed before the program was started anew
	}
	d.state, d.until = paused, time.Now().Add(pause)
	d.timer = time.AfterFunc(pause, func() { s.endPause(d) })
}

func (s *sender) endPause(d *destination) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.state == paused {
		s.queue(d)
	}
}

// heardOf ends a server's pause: it has just shown that it is there.
func (s *sender) heardOf(server string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard.Add(server, now)
	d := s.servers[server]
	if d == nil || s.stopped || d.answered || now.Sub(d.heard) < heardEvery {
		return
	}
	switch d.state {
	case paused:
		d.timer.Stop()
		d.heard, d.answered = now, true
		s.queue(d)
	case queued:
		d.heard, d.answered = now, true
		s.enter(&s.reached, d)
	}
}
