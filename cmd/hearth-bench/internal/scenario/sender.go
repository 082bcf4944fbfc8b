package scenario

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
	"hearth/cmd/hearth-bench/internal/procfs"
	"hearth/cmd/hearth-bench/internal/stats"
)

// sender sends messages to one room, one at a time, so that the server's
// answer to one comes before the next is sent.
type sender struct {
	client *matrix.Client
	room   string
	ledger *check.Ledger
	index  int
	seq    int
}

// send sends the next message. due is when it was to be sent, or now.
func (s *sender) send(due time.Duration) error {
	m := check.Mark{Run: s.ledger.Run, Sender: s.index, Seq: s.seq, Sent: due}
	s.seq++
	id, err := s.client.Send(s.room, m, time.Minute)
	if err == nil {
		s.ledger.Acknowledge(m, id)
	}
	return err
}

// tally counts what became of messages. Latencies are of those that were sent
// and answered between begin and end of the measurement.
type tally struct {
	latency   stats.Histogram
	acked     atomic.Int64 // whenever
	measured  atomic.Int64 // during the measurement
	recording atomic.Bool

	mu      sync.Mutex
	failed  int
	failure error // the first
}

// send sends one message and counts what became of it.
func (t *tally) send(s *sender, due time.Duration) error {
	from := t.recording.Load()
	err := s.send(due)
	took := check.Now() - due
	if err != nil {
		t.mu.Lock()
		t.failed++
		if t.failure == nil {
			t.failure = err
		}
		t.mu.Unlock()
		return err
	}
	t.acked.Add(1)
	if t.recording.Load() {
		t.measured.Add(1)
		if from {
			t.latency.Record(took)
		}
	}
	return nil
}

// window is what happened during a measurement.
type window struct {
	from, to procfs.Usage
}

func (w window) seconds() float64 { return w.to.At.Sub(w.from.At).Seconds() }

// measure lets the load that is running warm up, and then records for the
// duration.
func (e *Env) measure(ctx context.Context, t *tally) (w window, err error) {
	if err := sleep(ctx, e.Warmup); err != nil {
		return w, err
	}
	t.recording.Store(true)
	if w.from, err = e.Watch.CPU(); err != nil {
		return w, err
	}
	if err := sleep(ctx, e.Duration); err != nil {
		return w, err
	}
	t.recording.Store(false)
	w.to, err = e.Watch.CPU()
	return w, err
}

func (r *Result) failures(t *tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed > 0 {
		r.add("failed", "messages", float64(t.failed))
		r.note("the first of %d messages that failed: %v", t.failed, t.failure)
	}
}

// saturate makes every sender send one message after the other while it
// measures. A failed message is not sent again; after a failure the sender
// waits, as long as the server asks for.
func (e *Env) saturate(ctx context.Context, senders []*sender, t *tally) (window, error) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for _, s := range senders {
		wg.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				if err := t.send(s, check.Now()); err != nil {
					wait, _ := matrix.RetryAfter(err)
					_ = sleep(ctx, min(max(wait, 10*time.Millisecond), 5*time.Second))
				}
			}
		})
	}
	w, err := e.measure(ctx, t)
	stop.Store(true)
	wg.Wait()
	return w, err
}
