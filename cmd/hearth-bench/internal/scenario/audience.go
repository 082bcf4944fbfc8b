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
)

// audience is many readers at once, each on a connection of its own.
type audience struct {
	ctx     context.Context
	stop    context.CancelCauseFunc
	readers []*reader
	wg      sync.WaitGroup
	failure atomic.Pointer[error] // the first reader's that failed
}

func newAudience(ctx context.Context, n int) *audience {
	a := &audience{readers: make([]*reader, n)}
	a.ctx, a.stop = context.WithCancelCause(ctx)
	return a
}

// gather makes a reader of each account, up to date, that follows the rooms
// which follow gives for it.
func (e *Env) gather(ctx context.Context, accounts []matrix.Account, follow func(i int) map[string]*check.Ledger) (*audience, error) {
	a := newAudience(ctx, len(accounts))
	err := e.each(ctx, len(accounts), preparing, func(c *matrix.Client, i int) error {
		var d matrix.Delta
		c.Account = accounts[i]
		if err := c.LiveSync("", 0, &d); err != nil {
			return err
		}
		r := newReader(e.client(a.ctx, accounts[i]), string(d.Next))
		for id, l := range follow(i) {
			r.follow(id, l)
		}
		a.readers[i] = r
		return nil
	})
	if err != nil {
		a.leave()
		return nil, err
	}
	return a, nil
}

// start makes everybody wait for what is new.
func (a *audience) start(poll time.Duration) {
	for _, r := range a.readers {
		a.wg.Go(func() {
			if err := r.run(a.ctx, poll); err != nil && !stopped(err) {
				a.failure.CompareAndSwap(nil, &err)
			}
		})
	}
}

func (a *audience) failed() error {
	if err := a.failure.Load(); err != nil {
		return fmt.Errorf("a reader: %w", *err)
	}
	return nil
}

// finish waits until everybody has seen the end of the run.
func (a *audience) finish(patience time.Duration) error {
	timer := time.AfterFunc(patience, func() { a.stop(errEnough) })
	defer timer.Stop()
	a.wg.Wait()
	if err := a.failed(); err != nil {
		return err
	}
	for _, r := range a.readers {
		if r.open > 0 {
			return errMissing
		}
	}
	return nil
}

// judge fills the readers' gaps and holds what they saw against the ledgers and
// the rooms' history, which the given clients read.
func (a *audience) judge(historians map[string]*matrix.Client, r *Result) (check.Verdict, error) {
	views, ledgers, gaps := map[string][]*check.View{}, map[string]*check.Ledger{}, 0
	for id, c := range historians {
		for _, reader := range a.readers {
			f := reader.rooms[id]
			if f == nil {
				continue
			}
			if views[id] == nil {
				history, err := readBack(c, id, f.ledger)
				if err != nil {
					return check.Verdict{}, err
				}
				views[id], ledgers[id] = []*check.View{history}, f.ledger
			}
			gaps += len(f.gaps)
			if err := f.fillGaps(c); err != nil {
				return check.Verdict{}, err
			}
			views[id] = append(views[id], f.view)
		}
	}
	if gaps > 0 {
		r.note("%d gaps in /sync timelines, filled from /messages afterwards", gaps)
	}
	var total check.Verdict
	for id, l := range ledgers {
		total.Add(l.Judge(views[id]...))
	}
	return total, nil
}

// leave closes every connection.
func (a *audience) leave() {
	a.stop(errEnough)
	a.wg.Wait()
	for _, r := range a.readers {
		if r != nil {
			r.client.Close()
		}
	}
}

var (
	errNotAll  = errors.New("not every client had the first message within a minute")
	errMissing = errors.New("not every client had seen the end of the run in time")
)
