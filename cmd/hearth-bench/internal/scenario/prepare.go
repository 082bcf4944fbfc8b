package scenario

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// preparing is how many requests are on their way while a scenario prepares:
// enough to keep two cores busy.
const preparing = 8

// each calls fn for 0 to n-1 from several goroutines, each with a connection of
// its own, and stops at the first error. fn sets the client's Account.
func (e *Env) each(ctx context.Context, n, workers int, fn func(c *matrix.Client, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, workers) {
		wg.Go(func() {
			c := e.client(ctx, matrix.Account{})
			defer c.Close()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := fn(c, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// accounts returns the first n accounts of a group, registering those missing.
func (e *Env) accounts(ctx context.Context, group string, n int) ([]matrix.Account, error) {
	have := e.state.accounts(group)
	if len(have) >= n {
		return have[:n:n], nil
	}
	e.Log("  registering %d accounts", n-len(have))
	made := make([]matrix.Account, n)
	copy(made, have)
	err := e.each(ctx, n-len(have), preparing, func(c *matrix.Client, i int) (err error) {
		i += len(have)
		c.Account = matrix.Account{}
		made[i], err = c.Register(fmt.Sprintf("bench-%s-%s-%d", e.state.Tag, group, i), e.SharedSecret)
		if matrix.Taken(err) { // an earlier run was interrupted here
			made[i], err = c.Register(fmt.Sprintf("bench-%s-%s-%d-%d", e.state.Tag, group, i, time.Now().UnixNano()), e.SharedSecret)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return made, e.state.update(func() { e.state.Accounts[group] = made })
}

// room returns a remembered room or makes it.
func (e *Env) room(ctx context.Context, name string, owner matrix.Account) (*room, error) {
	if r := e.state.room(name); r != nil {
		return r, nil
	}
	c := e.client(ctx, owner)
	defer c.Close()
	id, err := c.CreateRoom(name, e.RoomVersion)
	if err != nil {
		return nil, err
	}
	r := &room{ID: id, Run: check.NewRun()}
	return r, e.state.update(func() { e.state.Rooms[name] = r })
}

// fill makes the accounts join a room, those that have not yet.
func (e *Env) fill(ctx context.Context, r *room, members []matrix.Account) error {
	if r.Members >= len(members) {
		return nil
	}
	missing := members[r.Members:]
	if len(missing) >= 100 {
		e.Log("  %d accounts join a room", len(missing))
	}
	err := e.each(ctx, len(missing), 4, func(c *matrix.Client, i int) error {
		c.Account = missing[i]
		return c.Join(r.ID)
	})
	if err != nil {
		return err
	}
	c := e.client(ctx, members[0])
	defer c.Close()
	if err := e.quiesce(ctx, c, r.ID); err != nil {
		return err
	}
	return e.state.update(func() { r.Members = len(members) })
}

// quiesce waits until the server has worked off what it has accepted for a
// room, and shows it.
func (e *Env) quiesce(ctx context.Context, c *matrix.Client, room string) error {
	s := &sender{client: c, room: room, ledger: check.NewLedger(check.NewRun())}
	_, err := readable(ctx, []*sender{s})
	return err
}

// write sends marked messages to a room, one after the other, until it has n.
// A room in which that broke off is forgotten, for its marks can't be trusted.
func (e *Env) write(c *matrix.Client, name string, r *room, n int) error {
	if r.Events >= n {
		return nil
	}
	for seq := r.Events; seq < n; seq++ {
		m := check.Mark{Run: r.Run, Seq: seq, Sent: check.Now()}
		if err := sendPatiently(c, r.ID, m); err != nil {
			if forget := e.state.update(func() { delete(e.state.Rooms, name) }); forget != nil {
				return forget
			}
			return err
		}
	}
	return e.state.update(func() { r.Events = n })
}

func sendPatiently(c *matrix.Client, room string, m check.Mark) error {
	for n := 0; ; n++ {
		_, err := c.Send(room, m, time.Minute)
		wait, refused := matrix.RetryAfter(err)
		if !refused || n == 20 {
			return err
		}
		time.Sleep(min(max(wait, 50*time.Millisecond), 5*time.Second))
	}
}
