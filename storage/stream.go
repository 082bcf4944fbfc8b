package storage

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	// maxQueued bounds the changes that wait for the writer; who comes later waits
	// in Reserve.
	maxQueued = 2048
	// maxBatchChanges and maxBatchRows bound one transaction.
	maxBatchChanges = 512
	maxBatchRows    = 4096
)

var (
	batchChanges = promauto.NewHistogram(prometheus.HistogramOpts{
		Name: "hearth_stream_batch_changes", Help: "Changes committed in one transaction.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 10)})
	commitSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Name: "hearth_stream_commit_seconds", Help: "Time to write and commit one batch.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)})
	commitFailures = promauto.NewCounter(prometheus.CounterOpts{
		Name: "hearth_stream_commit_failures_total", Help: "Batches that could not be committed at the first try."})
)

// Stream is the one ordered stream: changes are appended to it in batches, one
// transaction each, and followers are told of every batch in order.
type Stream struct {
	db    *DB
	queue chan *Ticket
	// slots holds one token per change that is reserved or queued.
	slots chan struct{}
	head  atomic.Int64

	mu        sync.RWMutex // guards closed and followers
	closed    bool
	followers []func(*Batch)
	finished  chan struct{}
	writer    *batchWriter
}

func newStream(ctx context.Context, db *DB) (*Stream, error) {
	s := &Stream{
		db:       db,
		queue:    make(chan *Ticket, maxQueued),
		slots:    make(chan struct{}, maxQueued),
		finished: make(chan struct{}),
	}
	var head int64
	if err := db.sql.QueryRowContext(ctx, `SELECT position FROM stream_head`).Scan(&head); err != nil {
		return nil, fmt.Errorf("reading the stream's position: %w", err)
	}
	s.head.Store(head)
	s.writer = &batchWriter{db: db}
	go s.run()
	return s, nil
}

// Position returns the newest position that is committed and known to every
// follower.
func (s *Stream) Position() Position { return s.head.Load() }

// Follow has f called with every batch committed from now on, in order, before
// anyone is told that their change is done. f must return quickly: the next
// commit waits for it.
func (s *Stream) Follow(f func(*Batch)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers = append(s.followers, f)
}

// Slot is the right to append one change.
type Slot struct{ s *Stream }

// Reserve waits until the stream can take a change. It must be called before
// taking a lock under which Append will be called, and the slot must be used or
// released.
func (s *Stream) Reserve(ctx context.Context) (Slot, error) {
	select {
	case s.slots <- struct{}{}:
		return Slot{s}, nil
	default:
	}
	select {
	case s.slots <- struct{}{}:
		return Slot{s}, nil
	case <-ctx.Done():
		return Slot{}, fmt.Errorf("waiting for the stream: %w", ctx.Err())
	}
}

// Release gives back a slot that wasn't used.
func (sl Slot) Release() { <-sl.s.slots }

// Append queues the change without waiting. The order of calls is the order in
// the stream.
func (sl Slot) Append(c *Change) *Ticket {
	t := &Ticket{change: c, Outcome: &Outcome{done: make(chan struct{})}}
	sl.s.mu.RLock()
	defer sl.s.mu.RUnlock()
	if sl.s.closed {
		sl.Release()
		t.finish(ErrClosed)
		return t
	}
	sl.s.queue <- t // has room: a slot is held for every entry
	return t
}

// Append reserves, appends and waits for the commit.
func (s *Stream) Append(ctx context.Context, c *Change) error {
	slot, err := s.Reserve(ctx)
	if err != nil {
		return err
	}
	return slot.Append(c).Wait(ctx)
}

// Ticket stands for an appended change.
type Ticket struct {
	change *Change
	*Outcome
}

// Outcome is what becomes of a change. Who keeps it doesn't keep the change, nor what that
// was made of.
type Outcome struct {
	done chan struct{}
	err  error
}

func (o *Outcome) finish(err error) {
	o.err = err
	close(o.done)
}

// Change is what was appended; after Wait has returned nil its positions are
// filled in.
func (t *Ticket) Change() *Change { return t.change }

// Wait returns once the change is committed and every follower has seen it, or
// with the reason why it wasn't written: ErrOvertaken, *DuplicateTxnError, or
// the database's error. When ctx ends first the change may still be written.
func (o *Outcome) Wait(ctx context.Context) error {
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is the writer: while one batch is on its way to the disk the next fills.
func (s *Stream) run() {
	defer close(s.finished)
	defer s.writer.disconnect()
	for first := range s.queue {
		batch, rows := []*Ticket{first}, first.change.rows()
	fill:
		for len(batch) < maxBatchChanges && rows < maxBatchRows {
			select {
			case t, ok := <-s.queue:
				if !ok {
					break fill
				}
				batch = append(batch, t)
				rows += t.change.rows()
			default:
				break fill
			}
		}
		s.commit(batch)
	}
}

// commit writes one batch and tells followers and callers. A batch that fails for
// what is in it is written change by change, so that one bad change fails alone.
func (s *Stream) commit(batch []*Ticket) {
	timer := prometheus.NewTimer(commitSeconds)
	err := s.writer.write(batch)
	timer.ObserveDuration()
	if err != nil {
		commitFailures.Inc()
		s.db.log.Error("writing a batch to the stream failed", "changes", len(batch), "err", err)
		if len(batch) > 1 && isDataError(err) {
			for _, t := range batch {
				s.commit([]*Ticket{t})
			}
			return
		}
	}
	batchChanges.Observe(float64(len(batch)))
	s.publish(batch, err)
}

func (s *Stream) publish(batch []*Ticket, err error) {
	b := &Batch{Position: s.writer.position}
	for _, t := range batch {
		if err != nil {
			t.err = err
		}
		if t.err == nil {
			b.Changes = append(b.Changes, t.change)
		}
	}
	if len(b.Changes) > 0 {
		s.mu.RLock()
		followers := s.followers
		s.mu.RUnlock()
		for _, f := range followers {
			f(b)
		}
		s.head.Store(b.Position)
	}
	for _, t := range batch {
		<-s.slots
		close(t.done)
	}
}

// close refuses new changes and waits until the queued ones are written.
func (s *Stream) close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	s.mu.Unlock()
	<-s.finished
}

// inTx runs f between BEGIN and COMMIT on the writer's own connection.
func inConnTx(ctx context.Context, conn *sql.Conn, f func() error) error {
	if _, err := conn.ExecContext(ctx, `BEGIN`); err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	if err := f(); err != nil {
		conn.ExecContext(ctx, `ROLLBACK`)
		return err
	}
	if _, err := conn.ExecContext(ctx, `COMMIT`); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}
