package roomserver

import (
	"context"
	"errors"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxAttempts bounds how often a change is built again after another writer
	// was faster.
	maxAttempts = 8
	// maxWaitForStream bounds how long a change waits for a place in the queue
	// before the client is told to come back later.
	maxWaitForStream = 5 * time.Second
)

// errRetry makes change start over with the room loaded anew.
var errRetry = errors.New("start over")

// errBehind is errRetry for a room whose memory isn't the newest.
var errBehind = errors.New("the room in memory is behind")

// change makes one change to a room: build adds events to the builder, and what
// it added is appended to the stream as a whole. It returns after the commit.
// build may run several times and must not keep anything from a former run.
func (s *Server) change(ctx context.Context, roomID string, build func(b *builder) error) error {
	for range maxAttempts {
		err := s.tryChange(ctx, roomID, build)
		if !errors.Is(err, errRetry) && !errors.Is(err, storage.ErrOvertaken) {
			return err
		}
	}
	return httpapi.Unavailable(time.Second, "The room is changing too fast; try again")
}

func (s *Server) tryChange(ctx context.Context, roomID string, build func(b *builder) error) error {
	rm, err := s.load(ctx, roomID)
	if err != nil {
		return err
	}
	slot, err := s.reserve(ctx)
	if err != nil {
		return err
	}
	ticket, err := rm.append(ctx, s, slot, build)
	if err != nil || ticket == nil {
		slot.Release()
		if errors.Is(err, errBehind) {
			s.live.drop(rm)
			return errRetry
		}
		var ask *askFirstError
		if errors.As(err, &ask) && ask.events != nil {
			return s.sendAsked(ctx, rm, ask)
		}
		return err
	}
	if err := s.await(rm, ticket); err != nil {
		return err
	}
	if err := s.reconsiderSticky(context.WithoutCancel(ctx), ticket.Change().Room); err != nil {
		s.log.Warn("judging sticky events anew failed", "room", roomID, "err", err)
	}
	return nil
}

// append builds on the newest state and queues the result, all under the room's
// lock, so that the order in the room is the order in the stream. Without a
// ticket nothing was queued.
func (rm *room) append(ctx context.Context, s *Server, slot storage.Slot, build func(b *builder) error) (*storage.Ticket, error) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if rm.dead {
		return nil, errRetry
	}
	if rm.isBehind() {
		return nil, errBehind
	}
	b := &builder{ctx: ctx, s: s, rm: rm, head: rm.head, pdus: map[int64]pduRef{}}
	if err := build(b); err != nil {
		return nil, err
	}
	if len(b.change.Events)+len(b.change.Stuck) == 0 && !b.change.Completed {
		return nil, nil
	}
	if err := b.askFirst(); err != nil {
		return nil, err
	}
	change, err := b.finish()
	if err != nil {
		return nil, err
	}
	rm.head = b.head
	for nid, ref := range b.pdus {
		rm.keepPDU(nid, ref)
	}
	ticket := slot.Append(change)
	rm.last = ticket.Outcome
	for _, e := range b.change.Events {
		if e.TxnID != "" {
			rm.txns.add(e.TxnKey, &txn{eventID: e.ID, outcome: ticket.Outcome})
		}
	}
	return ticket, nil
}

// reserve waits for a place in the stream's queue, but not for long.
func (s *Server) reserve(ctx context.Context) (storage.Slot, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWaitForStream)
	defer cancel()
	slot, err := s.db.Stream.Reserve(ctx)
	if err != nil {
		return slot, httpapi.Unavailable(time.Second, "The server is overloaded; try again")
	}
	return slot, nil
}

// await waits for the commit, whatever becomes of the request: the room's memory
// must not outlive a failure.
func (s *Server) await(rm *room, ticket *storage.Ticket) error {
	err := ticket.Wait(context.Background())
	if err == nil {
		return nil
	}
	s.live.drop(rm)
	var repeated *storage.DuplicateTxnError
	if errors.As(err, &repeated) || errors.Is(err, storage.ErrOvertaken) {
		return err
	}
	if errors.Is(err, storage.ErrClosed) {
		return httpapi.Unavailable(time.Second, "The server is shutting down")
	}
	e := httpapi.Unavailable(time.Second, "The server could not store the event; try again")
	e.Err = err
	return e
}
