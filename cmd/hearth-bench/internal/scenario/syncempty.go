package scenario

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
	"hearth/cmd/hearth-bench/internal/stats"
)

// runSyncEmpty measures syncs that find nothing new, from one app and from
// several of the same user at once.
func runSyncEmpty(ctx context.Context, e *Env, report func(Result)) error {
	n := e.Rooms[0]
	user, _, err := e.inRooms(ctx, n)
	if err != nil {
		return err
	}
	for _, apps := range []int{1, 8} {
		r := Result{Case: fmt.Sprintf("user in %d rooms, %d at a time", n, apps)}
		if err := e.emptySyncs(ctx, user, apps, &r); err != nil {
			r.Error = err.Error()
		}
		report(r)
	}
	return nil
}

func (e *Env) emptySyncs(ctx context.Context, user matrix.Account, apps int, r *Result) error {
	limit, cancel := context.WithTimeoutCause(ctx, e.Duration+2*e.Warmup+time.Minute, errEnough)
	defer cancel()
	var n atomic.Int64
	var stop atomic.Bool
	var h stats.Histogram
	done := make(chan error, 1)
	go func() {
		done <- e.each(limit, apps, apps, func(c *matrix.Client, _ int) error {
			c.Account = user
			reader := newReader(c, "")
			for !stop.Load() {
				from := check.Now()
				if _, err := reader.poll(0); err != nil {
					return err
				}
				h.Record(check.Now() - from)
				n.Add(1)
			}
			return nil
		})
	}()
	w, count, err := e.count(ctx, &n)
	stop.Store(true)
	if failed := <-done; err == nil {
		err = failed
	}
	r.add("rate", "syncs/s", float64(count)/w.seconds())
	r.latencies("", &h)
	r.cores(w.from, w.to)
	return err
}

// count lets the load that is running warm up, and then counts for the duration.
func (e *Env) count(ctx context.Context, n *atomic.Int64) (w window, count int64, err error) {
	if err := sleep(ctx, e.Warmup); err != nil {
		return w, 0, err
	}
	if w.from, err = e.Watch.CPU(); err != nil {
		return w, 0, err
	}
	before := n.Load()
	if err := sleep(ctx, e.Duration); err != nil {
		return w, 0, err
	}
	count = n.Load() - before
	w.to, err = e.Watch.CPU()
	return w, count, err
}
