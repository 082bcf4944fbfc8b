package scenario

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"hearth/cmd/hearth-bench/internal/matrix"
)

// repeats is how often each request to a big room is made; the figure is the
// median.
const repeats = 5

// runBigRoom measures what a room of many members costs to look at and to join.
func runBigRoom(ctx context.Context, e *Env, report func(Result)) error {
	members, err := e.accounts(ctx, "member", e.Members)
	if err != nil {
		return err
	}
	room, err := e.room(ctx, fmt.Sprintf("big-%d", e.Members), members[0])
	if err != nil {
		return err
	}
	if err := e.fill(ctx, room, members); err != nil {
		return err
	}
	guests, err := e.accounts(ctx, "guest", repeats)
	if err != nil {
		return err
	}
	c := e.client(ctx, members[0])
	defer c.Close()
	r := Result{Case: fmt.Sprintf("%d members", e.Members)}
	if err := e.lookAtRoom(c, room.ID, &r); err != nil {
		r.Error = err.Error()
	} else if err := e.joinRoom(ctx, guests, room.ID, &r); err != nil {
		r.Error = err.Error()
	}
	report(r)
	return nil
}

// lookAtRoom makes each request several times and checks that everybody is in
// the answers.
func (e *Env) lookAtRoom(c *matrix.Client, room string, r *Result) error {
	for _, q := range []struct{ name, path, every string }{
		{"members", "/members", `"m.room.member"`},
		{"joined_members", "/joined_members", `"@`},
		{"state", "/state", `"m.room.member"`},
	} {
		var took []time.Duration
		for range repeats {
			from := time.Now()
			b, err := c.GetRoom(room, q.path)
			if err != nil {
				return err
			}
			took = append(took, time.Since(from))
			if n := bytes.Count(b, []byte(q.every)); n < e.Members {
				return fmt.Errorf("%s names %d of %d members", q.name, n, e.Members)
			}
		}
		r.add(q.name, "ms", median(took))
	}
	return nil
}

// joinRoom lets guests join one after the other; they leave again, so that the
// room is the same for the next run.
func (e *Env) joinRoom(ctx context.Context, guests []matrix.Account, room string, r *Result) error {
	var took []time.Duration
	for _, a := range guests {
		c := e.client(ctx, a)
		defer c.Close()
		if err := c.Whoami(); err != nil { // the connection stands before the join is timed
			return err
		}
		from := time.Now()
		if err := c.Join(room); err != nil {
			return err
		}
		took = append(took, time.Since(from))
		if err := c.Leave(room); err != nil {
			return err
		}
	}
	r.add("join", "ms", median(took))
	return nil
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return milliseconds(d[len(d)/2])
}
