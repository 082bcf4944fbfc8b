package scenario

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// runFanout measures how long a message takes from before it is sent until the
// last of the clients that wait in its room has it.
func runFanout(ctx context.Context, e *Env, report func(Result)) error {
	for _, n := range e.Clients {
		r := Result{Case: fmt.Sprintf("%d clients, %g messages/s", n, e.FanoutRate)}
		if err := e.fanoutCase(ctx, n, e.FanoutRate, &r); err != nil {
			r.Error = err.Error()
			report(r)
			return nil // a server that this was too much for needs no more of it
		}
		report(r)
	}
	for _, n := range e.FullSpeed {
		r := Result{Case: fmt.Sprintf("%d clients, full speed", n)}
		if err := e.fanoutCase(ctx, n, 0, &r); err != nil {
			r.Error = err.Error()
		}
		report(r)
	}
	return nil
}

// fanoutCase measures n clients; at rate 0 the sender sends as fast as it gets
// answers.
func (e *Env) fanoutCase(ctx context.Context, n int, rate float64, r *Result) error {
	crowd, err := e.accounts(ctx, "crowd", n)
	if err != nil {
		return err
	}
	owner, err := e.accounts(ctx, "speaker", 1)
	if err != nil {
		return err
	}
	room, err := e.room(ctx, fmt.Sprintf("fanout-%d", n), owner[0])
	if err != nil {
		return err
	}
	if err := e.fill(ctx, room, crowd); err != nil {
		return err
	}
	ledger := check.NewLedger(check.NewRun())
	a, err := e.gather(ctx, crowd, func(int) map[string]*check.Ledger { return map[string]*check.Ledger{room.ID: ledger} })
	if err != nil {
		return err
	}
	defer a.leave()
	s := &sender{client: e.client(ctx, owner[0]), room: room.ID, ledger: ledger}
	defer s.client.Close()
	spread := newSpread(n)
	for _, reader := range a.readers {
		reader.saw = spread.saw
	}
	a.start(e.Poll)
	return e.speak(ctx, s, a, spread, rate, r)
}

// speak sends to an audience that has begun to listen, and reports.
func (e *Env) speak(ctx context.Context, s *sender, a *audience, spread *spread, rate float64, r *Result) error {
	if err := s.send(check.Now()); err != nil {
		return err
	}
	if err := spread.await(ctx, a, 0); err != nil {
		return err
	}
	t := spread.tally
	w, first, last, err := e.paced(ctx, s, t, rate)
	if err != nil {
		return err
	}
	if err := endRoom(s.client, s.room, s.ledger); err != nil {
		return err
	}
	if err := a.finish(2 * time.Minute); err != nil {
		r.note("%v", err)
	}
	spread.report(r, first, last)
	r.add("delivered", "events/s", float64(spread.delivered.Load())/w.seconds())
	r.add("rate", "messages/s", float64(t.measured.Load())/w.seconds())
	r.add("send p99", "ms", milliseconds(t.latency.Quantile(0.99)))
	r.per("message", w.from, w.to, t.measured.Load())
	r.cores(w.from, w.to)
	r.failures(t)
	verdict, err := a.judge(map[string]*matrix.Client{s.room: s.client}, r)
	r.judge(verdict)
	return err
}

// paced sends at a rate while it measures, and returns which messages were sent
// during the measurement: from first up to, without, last.
func (e *Env) paced(ctx context.Context, s *sender, t *tally, rate float64) (w window, first, last int, err error) {
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		begin := check.Now()
		for i := 1; !stop.Load() && ctx.Err() == nil && s.seq < maxSpread; i++ {
			due := check.Now()
			if rate > 0 {
				plan := begin + time.Duration(float64(i)/rate*float64(time.Second))
				if plan > due {
					_ = sleep(ctx, plan-due)
					due = check.Now()
				} else {
					due = plan // the server's answer came too late for the plan
				}
			}
			if t.recording.Load() {
				if last == 0 {
					first = s.seq
				}
				last = s.seq + 1
			}
			if err := t.send(s, due); err != nil {
				wait, _ := matrix.RetryAfter(err)
				_ = sleep(ctx, min(max(wait, 10*time.Millisecond), 5*time.Second))
			}
		}
	}()
	w, err = e.measure(ctx, t)
	stop.Store(true)
	<-done
	return w, first, last, err
}
