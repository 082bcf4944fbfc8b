// Package delayed sends events later than their senders ask for them: reminders,
// and the hang-up of a call whose client has gone away. What is scheduled is kept in
// the database alone, so that it outlives the process.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4140
package delayed

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxDue bounds the events read at once, and maxRooms the rooms to which they are
	// sent at the same time.
	maxDue, maxRooms = 256, 16
	// retryAfter is when an event is tried again that this server failed to send, and
	// giveUpAfter how long.
	retryAfter, giveUpAfter = 10 * time.Second, time.Hour
	// keepFor and keepPast bound what is kept, of a user, of what was done with.
	keepFor, keepPast = 7 * 24 * time.Hour, 100
	// tidyEvery is how often what is too old is forgotten.
	tidyEvery = time.Hour
)

// Options of New. DB, Rooms, MaxDelay and MaxPerUser are needed.
type Options struct {
	DB    *storage.DB
	Rooms *roomserver.Server
	// MaxDelay is how far ahead an event can be scheduled.
	MaxDelay time.Duration
	// MaxPerUser is how many events a user may have scheduled at the same time.
	MaxPerUser int
	// SendLimit bounds, by user, what is sent, and ManageLimit how often scheduled
	// events are sent, cancelled and restarted. The zero value doesn't.
	SendLimit, ManageLimit httpapi.Limit
	Logger                 *slog.Logger
}

// Scheduler keeps what is to be sent later and sends it. All methods are safe for
// concurrent use.
type Scheduler struct {
	o               Options
	db              *storage.DB
	log             *slog.Logger
	sending, manage *httpapi.Limiter
	ctx             context.Context
	cancel          context.CancelFunc
	done            chan struct{}
	wake            chan struct{}
	// locks, by a hash of the id, keep an event from being sent and cancelled at once.
	locks [64]sync.Mutex
	seed  maphash.Seed
	// tidied is when the loop last forgot what is old.
	tidied time.Time
}

// New returns a scheduler that sends nothing by itself until Start.
func New(o Options) *Scheduler {
	s := &Scheduler{o: o, db: o.DB, log: o.Logger, done: make(chan struct{}), wake: make(chan struct{}, 1), seed: maphash.MakeSeed()}
	if s.log == nil {
		s.log = slog.Default()
	}
	if o.SendLimit.Burst > 0 {
		s.sending = httpapi.NewLimiter(o.SendLimit)
	}
	if o.ManageLimit.Burst > 0 {
		s.manage = httpapi.NewLimiter(o.ManageLimit)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Start sends what became due while the server was off, then everything in its time.
// Stop ends it.
func (s *Scheduler) Start() { go s.run() }

// Stop returns once nothing is being sent any more. It must follow Start.
func (s *Scheduler) Stop() {
	s.cancel()
	<-s.done
}

// MaxDelay is how far ahead an event can be scheduled.
func (s *Scheduler) MaxDelay() time.Duration { return s.o.MaxDelay }

// MaxPerUser is how many events a user may have scheduled at the same time.
func (s *Scheduler) MaxPerUser() int { return s.o.MaxPerUser }

// lock has an event to itself until the function returned is called.
func (s *Scheduler) lock(id string) (unlock func()) {
	mu := &s.locks[maphash.String(s.seed, id)%uint64(len(s.locks))]
	mu.Lock()
	return mu.Unlock
}

// run is the one timer: it sleeps until the next event is due or one is scheduled.
func (s *Scheduler) run() {
	defer close(s.done)
	for s.ctx.Err() == nil {
		timer := time.NewTimer(s.sendDue())
		select {
		case <-s.ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// sendDue sends what is due, or a part of it, and returns when to look again.
func (s *Scheduler) sendDue() time.Duration {
	due, err := s.db.DueDelayedEvents(s.ctx, time.Now(), maxDue)
	if err != nil {
		return s.failed(err)
	}
	s.sendAll(due)
	if len(due) == maxDue {
		return 0
	}
	if time.Since(s.tidied) > tidyEvery {
		s.tidied = time.Now()
		if err := s.db.ForgetDelayedEvents(s.ctx, s.tidied.Add(-keepFor)); err != nil {
			return s.failed(err)
		}
	}
	next, err := s.db.NextDelayedEvent(s.ctx)
	if err != nil {
		return s.failed(err)
	}
	if next.IsZero() {
		return tidyEvery
	}
	return min(max(time.Until(next), 0), tidyEvery)
}

// failed logs that the database failed, and returns when to try again.
func (s *Scheduler) failed(err error) time.Duration {
	if s.ctx.Err() == nil {
		s.log.Error("looking for delayed events failed", "err", err)
	}
	return retryAfter
}

// sendAll sends each room's events one after another, several rooms at once.
func (s *Scheduler) sendAll(due []storage.DelayedEvent) {
	byRoom := map[string][]string{}
	for _, e := range due {
		byRoom[e.RoomID] = append(byRoom[e.RoomID], e.ID)
	}
	var all sync.WaitGroup
	free := make(chan struct{}, maxRooms)
	for _, ids := range byRoom {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			for _, id := range ids {
				if err := s.sendScheduled(id); err != nil && s.ctx.Err() == nil {
					s.log.Error("sending a delayed event failed", "err", err)
				}
			}
		})
	}
	all.Wait()
}

// sendScheduled sends an event that is due. What is refused isn't tried again; what
// fails for the server's own troubles is, for a while.
func (s *Scheduler) sendScheduled(id string) error {
	defer s.lock(id)()
	e, err := s.db.GetDelayedEvent(s.ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	now := time.Now()
	if err != nil || !e.FinalisedAt.IsZero() || e.DueAt.After(now) { // restarted meanwhile
		return err
	}
	sendErr := s.send(s.ctx, e)
	if sendErr == nil || s.ctx.Err() != nil {
		return nil
	}
	var refused *httpapi.Error
	if !errors.As(sendErr, &refused) || refused.Status >= 500 {
		if now.Before(e.ScheduledAt.Add(e.Delay + giveUpAfter)) {
			return errors.Join(sendErr, s.db.PostponeDelayedEvent(s.ctx, id, now.Add(retryAfter)))
		}
		refused = httpapi.New(500, "M_UNKNOWN", "The server could not send the event")
	}
	return s.db.FinaliseDelayedEvent(s.ctx, id, now, "", errorJSON(refused))
}

// send sends an event as its sender may now, and notes that it was. That it has the
// delay's id as its transaction's lets no crash send it twice. The caller holds the
// event's lock.
func (s *Scheduler) send(ctx context.Context, e *storage.DelayedEvent) error {
	if err := s.sending.Take(e.UserID); err != nil {
		return err
	}
	sender, err := s.db.GetUser(ctx, e.UserID)
	if err != nil {
		return err
	}
	switch {
	case sender.Suspended:
		return httpapi.UserSuspended()
	case sender.Locked || sender.Deactivated:
		return httpapi.Forbidden("The sender's account is locked or deactivated")
	}
	eventID, err := s.append(ctx, e, sender)
	if err != nil {
		return err
	}
	return s.db.FinaliseDelayedEvent(context.WithoutCancel(ctx), e.ID, time.Now(), eventID, nil)
}

// append adds the event to its room. A membership is changed as by the requests for that, with what
// they make sure of beside the rules of rooms.
func (s *Scheduler) append(ctx context.Context, e *storage.DelayedEvent, sender *storage.User) (eventID string, err error) {
	if e.Type == "m.room.member" && e.StateKey != nil {
		m := roomserver.MembershipRequest{RoomID: e.RoomID, Sender: e.UserID, Target: *e.StateKey, Guest: sender.Guest}
		if err := httpapi.Unmarshal(e.Content, &m.Content); err != nil {
			return "", err
		}
		m.Membership, _ = m.Content["membership"].(string)
		return s.o.Rooms.SetMembership(ctx, m)
	}
	return s.o.Rooms.Send(ctx, roomserver.EventRequest{
		RoomID: e.RoomID, Sender: e.UserID, Type: e.Type, StateKey: e.StateKey, Content: e.Content, StickyMS: e.StickyMS,
		DeviceID: roomserver.DelayedDevice, TxnID: e.ID, Endpoint: "delayed",
	})
}
