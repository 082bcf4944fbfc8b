package delayed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// maxContent bounds the content of an event, which becomes at most 64 KiB with what
// is around it.
const maxContent = 64 << 10

// Earlier returns the id of what a request has scheduled before, "" for nothing.
func (s *Scheduler) Earlier(ctx context.Context, request []byte) (string, error) {
	return s.db.DelayedEventOfRequest(ctx, request)
}

// Schedule has an event sent after its delay, which is between 1 ms and MaxDelay, and
// returns its id. Whether the sender may send it is seen when it is sent; what could
// never be sent is refused now.
func (s *Scheduler) Schedule(ctx context.Context, e storage.DelayedEvent) (string, error) {
	if s.o.MaxPerUser == 0 {
		return "", httpapi.Forbidden("This server doesn't delay events")
	}
	if len(e.Content) > maxContent {
		return "", httpapi.TooLarge("The content is longer than %d bytes", maxContent)
	}
	check := roomserver.EventRequest{Type: e.Type, StateKey: e.StateKey, Content: e.Content, StickyMS: e.StickyMS}
	if err := check.Check(); err != nil {
		return "", err
	}
	e.ID = rand.Text()
	e.ScheduledAt = time.Now()
	e.DueAt = e.ScheduledAt.Add(e.Delay)
	added, err := s.db.AddDelayedEvent(ctx, &e, s.o.MaxPerUser, keepPast)
	if storage.IsUniqueViolation(err) { // the same request at the same time
		return s.Earlier(ctx, e.Request)
	}
	if err != nil {
		return "", err
	}
	if !added {
		return "", s.full(ctx, e.UserID)
	}
	select {
	case s.wake <- struct{}{}:
	default: // it looks anyway
	}
	return e.ID, nil
}

// full says when one of the user's events will have been sent.
func (s *Scheduler) full(ctx context.Context, userID string) error {
	next, err := s.db.ListDelayedEvents(ctx, userID, 1)
	if err != nil {
		return err
	}
	wait := time.Second
	if len(next) > 0 {
		wait = max(wait, time.Until(next[0].DueAt))
	}
	refused := httpapi.LimitExceeded(wait)
	refused.Message = "You have scheduled as many events as you may"
	return refused
}

// Scheduled lists what a user has scheduled, the next first.
func (s *Scheduler) Scheduled(ctx context.Context, userID string) ([]storage.DelayedEvent, error) {
	return s.db.ListDelayedEvents(ctx, userID, s.o.MaxPerUser)
}

// Get returns a user's event that is scheduled, or that was done with not long ago.
func (s *Scheduler) Get(ctx context.Context, userID, id string) (*storage.DelayedEvent, error) {
	e, err := s.db.GetDelayedEvent(ctx, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && e.UserID != userID {
		return nil, notFound()
	}
	return e, err
}

func notFound() error { return httpapi.NotFound("There is no delayed event with this id") }

// Send sends an event now. If that is refused the event stays scheduled.
func (s *Scheduler) Send(ctx context.Context, userID, id string) error {
	return s.change(ctx, userID, id, func(e *storage.DelayedEvent) error {
		switch {
		case e.FinalisedAt.IsZero():
			return s.send(ctx, e)
		case e.EventID == "":
			return conflict("The event was cancelled, or could not be sent")
		}
		return nil
	})
}

// Cancel has an event never be sent.
func (s *Scheduler) Cancel(ctx context.Context, userID, id string) error {
	return s.change(ctx, userID, id, func(e *storage.DelayedEvent) error {
		switch {
		case e.FinalisedAt.IsZero():
			return s.db.FinaliseDelayedEvent(ctx, id, time.Now(), "", nil)
		case e.EventID != "":
			return conflict("The event was sent already")
		}
		return nil
	})
}

// Restart has an event wait its whole delay from now on. One that was sent is not
// found: a client whose hang-up came too late thereby learns to join its call again.
func (s *Scheduler) Restart(ctx context.Context, userID, id string) error {
	return s.change(ctx, userID, id, func(e *storage.DelayedEvent) error {
		switch {
		case e.FinalisedAt.IsZero():
			return s.db.RestartDelayedEvent(ctx, id, time.Now())
		case e.EventID != "":
			return notFound()
		}
		return conflict("The event was cancelled, or could not be sent")
	})
}

func conflict(what string) error { return httpapi.New(http.StatusConflict, "M_UNKNOWN", "%s", what) }

// change calls f with an event that nobody else changes meanwhile. With userID "" who
// asks isn't known, and knowing the id is enough: a client hands it to the service
// that carries the call, which hangs up for it.
func (s *Scheduler) change(ctx context.Context, userID, id string, f func(*storage.DelayedEvent) error) error {
	defer s.lock(id)()
	e, err := s.db.GetDelayedEvent(ctx, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && userID != "" && e.UserID != userID {
		return notFound()
	}
	if err != nil {
		return err
	}
	if err := s.manage.Take(e.UserID); err != nil {
		return err
	}
	return f(e)
}

// errorJSON is an error as a client is told it.
func errorJSON(e *httpapi.Error) json.RawMessage {
	b, err := json.Marshal(map[string]string{"errcode": e.Code, "error": e.Message})
	if err != nil {
		panic(err) // texts can always be written
	}
	return b
}
