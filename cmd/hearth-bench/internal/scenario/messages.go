package scenario

import (
	"context"
	"fmt"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// runMessages reads a long history backwards, a page at a time.
func runMessages(ctx context.Context, e *Env, report func(Result)) error {
	owner, err := e.accounts(ctx, "historian", 1)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("history-%d", e.History)
	room, err := e.room(ctx, name, owner[0])
	if err != nil {
		return err
	}
	c := e.client(ctx, owner[0])
	defer c.Close()
	if room.Events < e.History {
		e.Log("  writing a history of %d messages", e.History)
	}
	if err := e.write(c, name, room, e.History); err != nil {
		return err
	}
	ledger := check.NewLedger(room.Run)
	for seq := range e.History {
		ledger.Expect(check.Mark{Run: room.Run, Seq: seq})
	}
	r := Result{Case: fmt.Sprintf("%d events backwards, %d a page", e.History, page)}
	err = e.readHistory(c, room.ID, ledger, &r)
	if err != nil {
		r.Error = err.Error()
	}
	report(r)
	return nil
}

func (e *Env) readHistory(c *matrix.Client, room string, l *check.Ledger, r *Result) error {
	view := l.NewView()
	var p matrix.Page
	pages, slowest, begin := 0, time.Duration(0), time.Now()
	from, err := e.Watch.CPU()
	if err != nil {
		return err
	}
	for token := ""; ; token = p.End {
		sent := time.Now()
		if err := c.Messages(room, token, 'b', page, &p); err != nil {
			return err
		}
		slowest = max(slowest, time.Since(sent))
		pages++
		for _, ev := range p.Events {
			if ev.Marked {
				view.See(ev.Mark, ev.ID)
			}
		}
		if p.End == "" || p.End == token {
			break
		}
	}
	took := time.Since(begin)
	to, err := e.Watch.CPU()
	if err != nil {
		return err
	}
	r.add("rate", "events/s", float64(view.Len())/took.Seconds())
	r.add("page", "ms", milliseconds(took)/float64(pages))
	r.add("slowest page", "ms", milliseconds(slowest))
	r.cores(from, to)
	view.Reverse()
	r.judge(l.Judge(view))
	return nil
}
