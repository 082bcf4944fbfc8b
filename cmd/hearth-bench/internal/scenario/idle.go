package scenario

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"hearth/cmd/hearth-bench/internal/matrix"
)

// runIdle measures clients that wait and get nothing. After they have connected
// their first polls are of random length, so that polls end and begin evenly from the start, as among
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
	a, err := e.idlers(ctx, n)
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
	if err := a.idle(e.Poll); err != nil {
		return err
	}
	// Everybody has polled once then: what beginning costs isn't what waiting costs.
	if err := sleep(ctx, e.Settle+max(e.Warmup, e.Poll)); err != nil {
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

// idleRoom is how many idle users share a room, in which nothing happens.
const idleRoom = 20

// idlers returns readers that are up to date. Their tokens are remembered, so
// that against a server that was just started memory is not that of first syncs.
func (e *Env) idlers(ctx context.Context, n int) (*audience, error) {
	users, err := e.accounts(ctx, "idler", n)
	if err != nil {
		return nil, err
	}
	err = e.each(ctx, (n+idleRoom-1)/idleRoom, preparing, func(_ *matrix.Client, i int) error {
		group := users[i*idleRoom : min(n, (i+1)*idleRoom)]
		room, err := e.room(ctx, fmt.Sprintf("idle-%d", i), group[0])
		if err != nil {
			return err
		}
		return e.fill(ctx, room, group)
	})
	if err != nil {
		return nil, err
	}
	return e.gatherFrom(ctx, users)
}

// gatherFrom makes readers that go on from the remembered tokens, and remembers
// those that are missing.
func (e *Env) gatherFrom(ctx context.Context, users []matrix.Account) (*audience, error) {
	a := newAudience(ctx, len(users))
	since := make(map[string]string, len(users))
	var mu sync.Mutex
	err := e.each(a.ctx, len(users), preparing, func(c *matrix.Client, i int) error {
		token := e.state.since(users[i].UserID)
		if token == "" {
			var d matrix.Delta
			c.Account = users[i]
			if err := c.LiveSync("", 0, &d); err != nil {
				return err
			}
			token = string(d.Next)
		}
		a.readers[i] = newReader(e.client(a.ctx, users[i]), token)
		mu.Lock()
		defer mu.Unlock()
		since[users[i].UserID] = token
		return nil
	})
	if err == nil {
		err = e.state.update(func() { maps.Copy(e.state.Since, since) })
	}
	if err != nil {
		a.leave()
		return nil, err
	}
	return a, nil
}

// idle connects everybody, and then makes them wait, again and again, until the
// audience leaves.
func (a *audience) idle(poll time.Duration) error {
	var connected sync.WaitGroup
	connected.Add(len(a.readers))
	for _, r := range a.readers {
		a.wg.Go(func() {
			err := r.patientPoll(a.ctx, 0)
			connected.Done()
			for wait := rand.N(poll); err == nil; wait = poll {
				err = r.patientPoll(a.ctx, wait)
			}
			if !stopped(err) {
				a.failure.CompareAndSwap(nil, &err)
			}
		})
	}
	connected.Wait()
	return a.failed()
}
