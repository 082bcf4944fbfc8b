package scenario

import (
	"context"
	"errors"
	"sync"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// ways are the ways in which verify reads a room back.
var ways = [...]string{"/messages backwards", "/messages forwards", "/sync since before the run"}

// verify reads everything back in every room, as its first sender, and judges
// what each way of reading shows.
func verify(senders []*sender, since []string, r *Result) error {
	var total check.Verdict
	var each [len(ways)]check.Verdict
	done := map[string]bool{}
	for i, s := range senders {
		if done[s.room] {
			continue
		}
		done[s.room] = true
		views, err := s.readAll(since[i])
		if err != nil {
			return err
		}
		total.Add(s.ledger.Judge(views[:]...))
		for w, v := range s.ledger.JudgeEach(views[:]...) {
			each[w].Add(v)
		}
	}
	r.judge(total)
	for w, v := range each {
		if v.Void() {
			r.note("%s: %v", ways[w], v)
		}
	}
	return nil
}

// readAll reads the sender's room in all ways. since is a token of /sync from
// before the run.
func (s *sender) readAll(since string) (views [len(ways)]*check.View, err error) {
	if views[0], err = readBack(s.client, s.room, s.ledger); err != nil {
		return views, err
	}
	if views[1], err = readForth(s.client, s.room, since, s.ledger); err != nil {
		return views, err
	}
	views[2], err = readSince(s.client, since, s.room, s.ledger)
	return views, err
}

// readablePatience is how long after its acknowledgement a message may be
// invisible until it counts as lost.
const readablePatience = 2 * time.Minute

var errUnreadable = errors.New("the last messages did not become readable")

// readable ends every room and returns how long it took until that could be
// read in all of them: a server may acknowledge faster than it shows.
func readable(ctx context.Context, senders []*sender) (time.Duration, error) {
	begin := check.Now()
	last := map[string]*sender{}
	for _, s := range senders {
		last[s.room] = s
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for _, s := range last {
		wg.Go(func() {
			if err := s.end(ctx, begin+readablePatience); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return check.Now() - begin, failed
}

// end ends the sender's room and waits until that can be read.
func (s *sender) end(ctx context.Context, deadline time.Duration) error {
	if err := endRoom(s.client, s.room, s.ledger); err != nil {
		return err
	}
	var p matrix.Page
	for check.Now() < deadline {
		if err := s.client.Messages(s.room, "", 'b', 10, &p); err != nil {
			return err
		}
		if s.endIn(p.Events) {
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return errUnreadable
}

func (s *sender) endIn(events []matrix.Event) bool {
	for _, ev := range events {
		if ev.Marked && ev.Mark.Run == s.ledger.Run && ev.Mark.Sender == endSender {
			return true
		}
	}
	return false
}
