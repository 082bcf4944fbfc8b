package scenario

import (
	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// page is how many events a reader of the history asks for at once.
const page = 100

// readBack returns what /messages shows of a run, read from the newest event.
func readBack(c *matrix.Client, room string, l *check.Ledger) (*check.View, error) {
	v := l.NewView()
	if err := back(c, room, "", v, nil); err != nil {
		return nil, err
	}
	v.Reverse()
	return v, nil
}

// back reads backwards from a token, newest first, to the beginning of the run
// or to an event in known.
func back(c *matrix.Client, room, from string, v *check.View, known map[check.Mark]bool) error {
	var p matrix.Page
	for {
		if err := c.Messages(room, from, 'b', page, &p); err != nil {
			return err
		}
		over := p.End == "" || p.End == from
		for _, ev := range p.Events {
			if !ev.Marked || ev.Mark.Sender == endSender {
				continue
			}
			over = over || ev.Mark.Run < v.Run()
			if known[ev.Mark.Place()] {
				return nil
			}
			v.See(ev.Mark, ev.ID)
		}
		if over {
			return nil
		}
		from = p.End
	}
}

// readForth returns what /messages shows of a run, read forwards from a token
// of /sync that is older than the run.
func readForth(c *matrix.Client, room, since string, l *check.Ledger) (*check.View, error) {
	v, from := l.NewView(), since
	var p matrix.Page
	for {
		if err := c.Messages(room, from, 'f', page, &p); err != nil {
			return nil, err
		}
		for _, ev := range p.Events {
			if ev.Marked && ev.Mark.Sender != endSender {
				v.See(ev.Mark, ev.ID)
			}
		}
		if p.End == "" || p.End == from || len(p.Events) == 0 {
			return v, nil
		}
		from = p.End
	}
}

// readSince returns what a client that was away during the run gets from /sync,
// with the gap filled.
func readSince(c *matrix.Client, since, room string, l *check.Ledger) (*check.View, error) {
	r := newReader(c, since)
	r.follow(room, l)
	for range maxCatchUp {
		quiet, err := r.poll(0)
		if err != nil {
			return nil, err
		}
		if quiet {
			break
		}
	}
	f := r.rooms[room]
	return f.view, f.fillGaps(c)
}

// maxCatchUp bounds how many answers a client that was away takes to catch up.
const maxCatchUp = 1000
