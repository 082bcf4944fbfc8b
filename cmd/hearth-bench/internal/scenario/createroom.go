package scenario

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
	"hearth/cmd/hearth-bench/internal/stats"
)

// runCreateRoom measures rooms created by several users at a time. Every room
// must afterwards be among those that its creator is in.
func runCreateRoom(ctx context.Context, e *Env, report func(Result)) error {
	accounts, err := e.accounts(ctx, "creator", e.Creators)
	if err != nil {
		return err
	}
	r := Result{Case: fmt.Sprintf("%d at a time", e.Creators)}
	if err := e.createRooms(ctx, accounts, &r); err != nil {
		r.Error = err.Error()
	}
	report(r)
	return nil
}

func (e *Env) createRooms(ctx context.Context, accounts []matrix.Account, r *Result) error {
	var n atomic.Int64
	var stop atomic.Bool
	var h stats.Histogram
	var mu sync.Mutex
	var verdict check.Verdict
	done := make(chan error, 1)
	go func() {
		done <- e.each(ctx, len(accounts), len(accounts), func(c *matrix.Client, i int) error {
			c.Account = accounts[i]
			var made []string
			for !stop.Load() {
				from := time.Now()
				id, err := c.CreateRoom("A room of the load tool", e.RoomVersion)
				if err != nil {
					return err
				}
				h.Record(time.Since(from))
				n.Add(1)
				made = append(made, id)
			}
			joined, err := c.JoinedRooms()
			mu.Lock()
			defer mu.Unlock()
			verdict.Add(judgeRooms(made, joined))
			return err
		})
	}()
	w, count, err := e.count(ctx, &n)
	stop.Store(true)
	if failed := <-done; err == nil {
		err = failed
	}
	r.add("rate", "rooms/s", float64(count)/w.seconds())
	r.latencies("", &h)
	r.cores(w.from, w.to)
	r.judge(verdict)
	return err
}

// judgeRooms counts the rooms made that are not among those joined, and the
// rooms of which two were made.
func judgeRooms(made, joined []string) check.Verdict {
	v := check.Verdict{Acknowledged: len(made), Readers: 1}
	slices.Sort(joined)
	slices.Sort(made)
	for i, id := range made {
		if _, found := slices.BinarySearch(joined, id); !found {
			v.Lost++
		}
		if i > 0 && made[i-1] == id {
			v.Doubled++
		}
	}
	return v
}
