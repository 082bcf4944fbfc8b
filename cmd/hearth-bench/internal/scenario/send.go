package scenario

import (
	"context"
	"fmt"
	"slices"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// runSend measures senders who each wait for the answer to one message before
// they send the next. Nobody reads meanwhile; afterwards everything is read in
// three ways: /messages backwards and forwards, and /sync from before the run.
func runSend(ctx context.Context, e *Env, report func(Result)) error {
	most := slices.Max(slices.Concat(e.Senders, e.OneRoom))
	accounts, err := e.accounts(ctx, "sender", most)
	if err != nil {
		return err
	}
	for _, n := range e.Senders {
		rooms := make([]string, n)
		err := e.each(ctx, n, preparing, func(_ *matrix.Client, i int) error {
			r, err := e.room(ctx, fmt.Sprintf("send-%d", i), accounts[i])
			if err == nil {
				rooms[i] = r.ID
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := e.sendCase(ctx, fmt.Sprintf("%d in rooms of their own", n), accounts[:n], rooms, report); err != nil {
			return err
		}
	}
	for _, n := range e.OneRoom {
		r, err := e.room(ctx, "send-together", accounts[0])
		if err != nil {
			return err
		}
		if err := e.fill(ctx, r, accounts[:n]); err != nil {
			return err
		}
		if err := e.sendCase(ctx, fmt.Sprintf("%d in one room", n), accounts[:n], slices.Repeat([]string{r.ID}, n), report); err != nil {
			return err
		}
	}
	return nil
}

// sendCase measures senders[i] in rooms[i].
func (e *Env) sendCase(ctx context.Context, name string, accounts []matrix.Account, rooms []string, report func(Result)) error {
	r := Result{Case: name}
	senders, since, err := e.senders(ctx, accounts, rooms)
	if err != nil {
		return err
	}
	defer closeAll(senders)
	var t tally
	work, err := e.databaseWork(ctx)
	if err != nil {
		return err
	}
	before, err := e.Watch.CPU()
	if err != nil {
		return err
	}
	w, err := e.saturate(ctx, senders, &t)
	if err != nil {
		return err
	}
	lag, err := readable(ctx, senders)
	if err != nil {
		return err
	}
	after, err := e.Watch.CPU()
	if err != nil {
		return err
	}
	all := t.acked.Load()
	r.add("rate", "messages/s", float64(t.measured.Load())/w.seconds())
	r.add("rate until readable", "messages/s", float64(all)/after.At.Sub(before.At).Seconds())
	r.add("lag", "ms", milliseconds(lag))
	r.latencies("", &t.latency)
	r.per("message", before, after, all)
	if err := e.addDatabaseWork(ctx, &r, work, all); err != nil {
		return err
	}
	r.failures(&t)
	if err := verify(senders, since, &r); err != nil {
		return err
	}
	report(r)
	return nil
}

// senders makes a sender of each account, and returns for the first in each
// room a token of /sync from before anything was sent.
func (e *Env) senders(ctx context.Context, accounts []matrix.Account, rooms []string) ([]*sender, []string, error) {
	run, ledgers := check.NewRun(), map[string]*check.Ledger{}
	senders, since := make([]*sender, len(accounts)), make([]string, len(accounts))
	var firsts []int
	for i, a := range accounts {
		if ledgers[rooms[i]] == nil {
			ledgers[rooms[i]] = check.NewLedger(run)
			firsts = append(firsts, i)
		}
		senders[i] = &sender{client: e.client(ctx, a), room: rooms[i], ledger: ledgers[rooms[i]], index: i}
	}
	err := e.each(ctx, len(firsts), preparing, func(_ *matrix.Client, i int) error {
		var d matrix.Delta
		first := firsts[i]
		err := senders[first].client.LiveSync("", 0, &d)
		since[first] = string(d.Next)
		return err
	})
	return senders, since, err
}

func closeAll(senders []*sender) {
	for _, s := range senders {
		s.client.Close()
	}
}
