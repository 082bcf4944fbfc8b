package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// runIdle measures clients that wait and get nothing. Their first polls are of
// random length, so that polls end and begin evenly from the start, as among
// people who connected at different times.
func runIdle(ctx context.Context, e *Env, report func(Result)) error {
	if len(e.Watch.Server) == 0 {
		e.Log("  memory and CPU need -server-pid")
	}
	for _, n := range e.Idle {
		r := Result{Case: fmt.Sprintf("%d connections", n)}
		if err := e.idleCase(ctx, n, &r); err != nil {
			r.Error = err.Error()
		}
		report(r)
	}
	return nil
}

func (e *Env) idleCase(ctx context.Context, n int, r *Result) error {
	crowd, err := e.accounts(ctx, "crowd", n)
	if err != nil {
		return err
	}
	a, err := e.gather(ctx, crowd, func(int) map[string]*check.Ledger { return nil })
	if err != nil {
		return err
	}
	defer a.leave()
	if err := sleep(ctx, e.Settle); err != nil {
		return err
	}
	before, err := e.Watch.Memory()
	if err != nil {
		return err
	}
	a.idle(e.Poll)
	if err := sleep(ctx, e.Settle+e.Warmup); err != nil {
		return err
	}
	from, err := e.Watch.CPU()
	if err != nil {
		return err
	}
	if err := sleep(ctx, e.Duration); err != nil {
		return err
	}
	to, err := e.Watch.Memory()
	if err != nil {
		return err
	}
	if len(e.Watch.Server) > 0 {
		r.add("server memory/connection", "KiB", float64(to.ServerMemory-before.ServerMemory)/1024/float64(n))
		r.add("server memory", "MiB", float64(to.ServerMemory)/(1<<20))
	}
	if e.Watch.Database != 0 {
		r.add("database memory", "MiB", float64(to.DatabaseMemory)/(1<<20))
	}
	r.cores(from, to)
	r.add("polls", "1/s", float64(n)/e.Poll.Seconds())
	return a.failed()
}

// idle makes everybody wait, again and again, until the audience leaves.
func (a *audience) idle(poll time.Duration) {
	for _, r := range a.readers {
		a.wg.Go(func() {
			for wait := rand.N(poll); ; wait = poll {
				_, err := r.poll(wait)
				if pause, refused := matrix.RetryAfter(err); refused {
					err = sleep(a.ctx, min(max(pause, 100*time.Millisecond), 5*time.Second))
				}
				if err != nil {
					if !stopped(err) {
						a.failure.CompareAndSwap(nil, &err)
					}
					return
				}
			}
		})
	}
}
