package scenario

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/stats"
)

// maxSpread bounds the messages of one fan-out.
const maxSpread = 1 << 20

// spread follows the messages of one sender to each of its readers.
type spread struct {
	readers   int
	tally     *tally // of the sender: deliveries count while it records
	delivered atomic.Int64
	each      stats.Histogram // latency of every delivery
	reached   [maxSpread]atomic.Int32
	last      [maxSpread]atomic.Int64 // latency of the slowest delivery so far
}

func newSpread(readers int) *spread { return &spread{readers: readers, tally: &tally{}} }

func (s *spread) saw(m check.Mark, at time.Duration) {
	if m.Seq >= maxSpread {
		return
	}
	took := int64(at - m.Sent)
	if s.tally.recording.Load() {
		s.delivered.Add(1)
		s.each.Record(time.Duration(took))
	}
	for old := s.last[m.Seq].Load(); took > old; old = s.last[m.Seq].Load() {
		if s.last[m.Seq].CompareAndSwap(old, took) {
			break
		}
	}
	s.reached[m.Seq].Add(1)
}

// await waits until a message has reached all readers.
func (s *spread) await(ctx context.Context, a *audience, seq int) error {
	for deadline := time.Now().Add(time.Minute); int(s.reached[seq].Load()) < s.readers; {
		if err := a.failed(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d of %d", errNotAll, s.reached[seq].Load(), s.readers)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// report adds the latencies of the messages from first up to last.
func (s *spread) report(r *Result, first, last int) {
	var slowest stats.Histogram
	missed := 0
	for seq := first; seq < min(last, maxSpread); seq++ {
		switch n := int(s.reached[seq].Load()); {
		case n >= s.readers:
			slowest.Record(time.Duration(s.last[seq].Load()))
		case n > 0:
			missed++
		}
	}
	r.latencies("last client ", &slowest)
	r.latencies("each client ", &s.each)
	if missed > 0 {
		r.note("%d messages did not reach every client through /sync itself", missed)
	}
}
