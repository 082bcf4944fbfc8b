package scenario

import (
	"context"
	"fmt"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
	"hearth/cmd/hearth-bench/internal/procfs"
)

// runMixed measures many people who are connected while some of them write:
// each message comes from the next of them, into one of his rooms.
func runMixed(ctx context.Context, e *Env, report func(Result)) error {
	people, err := e.accounts(ctx, "person", e.People)
	if err != nil {
		return err
	}
	town, err := e.town(ctx, people)
	if err != nil {
		return err
	}
	r := Result{Case: fmt.Sprintf("%d people, %g messages/s", e.People, e.Rate)}
	if err := e.live(ctx, people, town, &r); err != nil {
		r.Error = err.Error()
	}
	report(r)
	return nil
}

// live connects everybody, lets them write at the given rate, and reports.
func (e *Env) live(ctx context.Context, people []matrix.Account, t *town, r *Result) error {
	run := check.NewRun()
	ledgers := make([]*check.Ledger, len(t.rooms))
	for i := range ledgers {
		ledgers[i] = check.NewLedger(run)
	}
	a, err := e.gather(ctx, people, func(i int) map[string]*check.Ledger {
		m := map[string]*check.Ledger{}
		for _, h := range t.homes[i] {
			m[t.rooms[h].ID] = ledgers[h]
		}
		return m
	})
	if err != nil {
		return err
	}
	defer a.leave()
	var heard tally
	for _, reader := range a.readers {
		reader.saw = func(m check.Mark, at time.Duration) {
			if heard.recording.Load() {
				heard.latency.Record(at - m.Sent)
			}
		}
	}
	a.start(e.Poll)
	if err := sleep(ctx, e.Settle); err != nil {
		return err
	}
	var said tally
	w, err := e.chatter(ctx, people, t, ledgers, &said, &heard, r)
	if err != nil {
		return err
	}
	historians := map[string]*matrix.Client{}
	for i, room := range t.rooms {
		c := e.client(ctx, people[t.owner[i]])
		defer c.Close()
		historians[room.ID] = c
		if err := endRoom(c, room.ID, ledgers[i]); err != nil {
			return err
		}
	}
	if err := a.finish(2 * time.Minute); err != nil {
		r.note("%v", err)
	}
	r.latencies("delivery ", &heard.latency)
	r.add("deliveries", "events/s", float64(heard.latency.Count())/w.seconds())
	r.add("rate", "messages/s", float64(said.measured.Load())/w.seconds())
	r.add("send p99", "ms", milliseconds(said.latency.Quantile(0.99)))
	r.per("message", w.from, w.to, said.measured.Load())
	r.cores(w.from, w.to)
	r.failures(&said)
	verdict, err := a.judge(historians, r)
	r.judge(verdict)
	return err
}

// memories are when memory is read during a run: to see whether it grows.
const memories = 6

// chatter lets people write while it measures, and adds how memory went.
func (e *Env) chatter(ctx context.Context, people []matrix.Account, t *town, ledgers []*check.Ledger, said, heard *tally, r *Result) (w window, err error) {
	hush, stop := context.WithCancel(ctx)
	defer stop()
	places := make([][]*sender, len(people))
	for p := range people {
		for _, h := range t.homes[p] {
			places[p] = append(places[p], &sender{room: t.rooms[h].ID, ledger: ledgers[h], index: p})
		}
	}
	crew := e.crew(ctx, hush, people, places, said)
	if err := sleep(ctx, e.Warmup); err != nil {
		return w, err
	}
	said.recording.Store(true)
	heard.recording.Store(true)
	if w.from, err = e.Watch.CPU(); err != nil {
		return w, err
	}
	var memory [memories]procfs.Usage
	for i := range memory {
		if err := sleep(ctx, e.Duration/memories); err != nil {
			return w, err
		}
		if memory[i], err = e.Watch.Memory(); err != nil {
			return w, err
		}
	}
	said.recording.Store(false)
	w.to = memory[memories-1]
	stop()
	crew.Wait()
	heard.recording.Store(false)
	r.memory(memory[:])
	return w, nil
}

// memory adds the memory after a sixth of the time, and at the end.
func (r *Result) memory(m []procfs.Usage) {
	mib := func(n int64) float64 { return float64(n) / (1 << 20) }
	early, end := m[0], m[len(m)-1]
	if end.ServerMemory > 0 {
		r.add("server memory, early", "MiB", mib(early.ServerMemory))
		r.add("server memory", "MiB", mib(end.ServerMemory))
	}
	if end.DatabaseMemory > 0 {
		r.add("database memory", "MiB", mib(end.DatabaseMemory))
		r.add("memory together", "MiB", mib(end.ServerMemory+end.DatabaseMemory))
	}
}
