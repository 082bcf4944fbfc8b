package scenario

import (
	"context"
	"errors"
	"fmt"

	"sync"
	"sync/atomic"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
	"hearth/cmd/hearth-bench/internal/stats"
)

// Overload comes from overloadUsers users in rooms of their own, each with
// several connections.
const overloadUsers = 32

// runOverload measures what the server can carry, then offers it a multiple of
// that, whatever it answers, and last how long it takes to recover.
func runOverload(ctx context.Context, e *Env, report func(Result)) error {
	accounts, err := e.accounts(ctx, "sender", overloadUsers)
	if err != nil {
		return err
	}
	rooms := make([]string, overloadUsers)
	err = e.each(ctx, overloadUsers, preparing, func(_ *matrix.Client, i int) error {
		r, err := e.room(ctx, fmt.Sprintf("send-%d", i), accounts[i])
		if err == nil {
			rooms[i] = r.ID
		}
		return err
	})
	if err != nil {
		return err
	}
	r := Result{Case: fmt.Sprintf("%gx of the capacity", e.Overload)}
	if err := e.overload(ctx, accounts, rooms, &r); err != nil {
		r.Error = err.Error()
	}
	report(r)
	return nil
}

func (e *Env) overload(ctx context.Context, accounts []matrix.Account, rooms []string, r *Result) error {
	capacity, err := e.capacity(ctx, accounts, rooms)
	if err != nil {
		return err
	}
	many, crowded := make([]matrix.Account, e.Connections), make([]string, e.Connections)
	for i := range many {
		many[i], crowded[i] = accounts[i%len(accounts)], rooms[i%len(rooms)]
	}
	senders, since, err := e.senders(ctx, many, crowded)
	if err != nil {
		return err
	}
	defer closeAll(senders)
	probe := &sender{client: e.client(ctx, accounts[0]), room: rooms[0], ledger: check.NewLedger(check.NewRun())}
	defer probe.client.Close()
	calm, err := probe.calm()
	if err != nil {
		return err
	}
	f := &flood{rate: capacity * e.Overload}
	w, err := f.run(ctx, e, senders)
	if err != nil {
		return err
	}
	recovery := probe.recover(calm)
	seconds := w.seconds()
	r.add("capacity", "messages/s", capacity)
	r.add("offered", "messages/s", float64(f.offered.Load())/seconds)
	r.add("accepted", "messages/s", float64(f.tally.measured.Load())/seconds)
	r.latencies("accepted ", &f.tally.latency)
	r.add("answered 429", "messages", float64(f.limited.Load()))
	r.add("answered 503", "messages", float64(f.unavailable.Load()))
	r.add("without Retry-After", "messages", float64(f.silent.Load()))
	r.add("failed otherwise", "messages", float64(f.broken.Load()))
	r.add("recovery", "ms", milliseconds(recovery))
	r.cores(w.from, w.to)
	r.failures(&f.tally)
	if _, err := readable(ctx, senders); err != nil {
		return err
	}
	return verify(senders, since, r)
}

// capacity is what as many senders as there are users get through, in messages
// per second.
func (e *Env) capacity(ctx context.Context, accounts []matrix.Account, rooms []string) (float64, error) {
	senders, _, err := e.senders(ctx, accounts, rooms)
	if err != nil {
		return 0, err
	}
	defer closeAll(senders)
	var t tally
	w, err := e.saturate(ctx, senders, &t)
	if err != nil {
		return 0, err
	}
	n := t.measured.Load()
	if n == 0 {
		return 0, fmt.Errorf("no message was accepted: %w", t.failure)
	}
	return float64(n) / w.seconds(), nil
}

// flood is open-loop load: its senders keep to a plan and not to the server's
// answers. A sender whose last message is still unanswered skips its turn, so
// what is on its way at a time is bounded by their number.
type flood struct {
	rate                                          float64
	tally                                         tally
	offered, limited, unavailable, silent, broken atomic.Int64
}

func (f *flood) run(ctx context.Context, e *Env, senders []*sender) (window, error) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	interval := time.Duration(float64(len(senders)) / f.rate * float64(time.Second))
	begin := check.Now()
	for i, s := range senders {
		wg.Go(func() {
			due := begin + interval*time.Duration(i)/time.Duration(len(senders))
			for !stop.Load() && sleep(ctx, due-check.Now()) == nil {
				f.count(f.tally.send(s, check.Now()))
				for due < check.Now() {
					due += interval
				}
			}
		})
	}
	w, err := e.measure(ctx, &f.tally)
	stop.Store(true)
	wg.Wait()
	return w, err
}

func (f *flood) count(err error) {
	if f.tally.recording.Load() {
		f.offered.Add(1)
	}
	var refusal *matrix.Error
	switch {
	case err == nil:
		return
	case !errors.As(err, &refusal) || !refusal.Refused():
		f.broken.Add(1)
		return
	case refusal.Status == 429:
		f.limited.Add(1)
	default:
		f.unavailable.Add(1)
	}
	if refusal.RetryAfter == 0 {
		f.silent.Add(1)
	}
}

// probes is how many messages in a row tell whether the server is calm.
const probes = 10

// calm returns the median latency of a single sender. Messages that the server
// refuses don't count.
func (s *sender) calm() (time.Duration, error) {
	var h stats.Histogram
	for range 3 * probes {
		from := check.Now()
		err := s.send(from)
		if _, refused := matrix.RetryAfter(err); refused {
			continue
		}
		if err != nil {
			return 0, err
		}
		h.Record(check.Now() - from)
	}
	return h.Quantile(0.5), nil
}

// recover sends until probes messages in a row took no more than thrice the
// calm time (or 20 ms), and returns how long it was until their first; a minute
// if it never came to that.
func (s *sender) recover(calm time.Duration) time.Duration {
	begin := check.Now()
	since, good := begin, 0
	limit := max(3*calm, 20*time.Millisecond)
	for check.Now()-begin < time.Minute {
		from := check.Now()
		err := s.send(from)
		if err != nil || check.Now()-from > limit {
			good = 0
			if err != nil {
				time.Sleep(10 * time.Millisecond)
			}
			continue
		}
		if good++; good == 1 {
			since = from
		}
		if good == probes {
			return since - begin
		}
	}
	return time.Minute
}
