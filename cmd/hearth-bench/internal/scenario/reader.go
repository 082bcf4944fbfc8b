package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// reader is a client that long-polls /sync and keeps what it sees.
type reader struct {
	client *matrix.Client
	since  string
	delta  matrix.Delta
	rooms  map[string]*followed
	open   int // rooms whose end mark is still to come

	// saw, if set, is told of every message of a followed room and when it
	// had arrived.
	saw func(m check.Mark, at time.Duration)
}

// followed is one room of a reader.
type followed struct {
	id     string
	ledger *check.Ledger
	view   *check.View
	gaps   []gap
	ended  bool
}

// gap is a place where /sync left events out.
type gap struct {
	at   int    // before the event that the view has as number at
	prev string // token from which /messages continues backwards
}

// endSender is the sender of the mark that closes a room's run: a reader that
// sees it has seen everything that was acknowledged before.
const endSender = 1 << 20

func newReader(c *matrix.Client, since string) *reader {
	return &reader{client: c, since: since, rooms: map[string]*followed{}}
}

func (r *reader) follow(room string, l *check.Ledger) {
	r.rooms[room] = &followed{id: room, ledger: l, view: l.NewView()}
	r.open++
}

// poll asks once what is new, and reports whether nothing was.
func (r *reader) poll(wait time.Duration) (quiet bool, err error) {
	if err := r.client.LiveSync(r.since, wait, &r.delta); err != nil {
		return false, err
	}
	at := check.Now()
	quiet = true
	for i := range r.delta.Rooms {
		t := &r.delta.Rooms[i]
		quiet = quiet && len(t.Events) == 0
		if f := r.rooms[string(t.Room)]; f != nil {
			r.take(f, t, at)
		}
	}
	r.since = string(r.delta.Next)
	return quiet, nil
}

func (r *reader) take(f *followed, t *matrix.Timeline, at time.Duration) {
	if t.Limited {
		f.gaps = append(f.gaps, gap{f.view.Len(), string(t.Prev)})
	}
	for _, ev := range t.Events {
		if !ev.Marked || ev.Mark.Run != f.ledger.Run {
			continue
		}
		if ev.Mark.Sender == endSender {
			if !f.ended {
				f.ended = true
				r.open--
			}
			continue
		}
		f.view.See(ev.Mark, ev.ID)
		if r.saw != nil {
			r.saw(ev.Mark, at)
		}
	}
}

// run polls until all rooms have ended.
func (r *reader) run(ctx context.Context, wait time.Duration) error {
	for r.open > 0 {
		if err := r.patientPoll(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

// patientPoll polls once. A server that refuses is given the time that it asks
// for.
func (r *reader) patientPoll(ctx context.Context, wait time.Duration) error {
	_, err := r.poll(wait)
	if pause, refused := matrix.RetryAfter(err); refused {
		return sleep(ctx, min(max(pause, 100*time.Millisecond), 5*time.Second))
	}
	return err
}

// fillGaps fetches what /sync left out, as a client does that scrolls back.
func (f *followed) fillGaps(c *matrix.Client) error {
	for _, g := range slices.Backward(f.gaps) {
		missed := f.ledger.NewView()
		if err := back(c, f.id, g.prev, missed, f.view.Before(g.at)); err != nil {
			return fmt.Errorf("fill a gap: %w", err)
		}
		missed.Reverse()
		f.view.Insert(g.at, missed)
	}
	f.gaps = nil
	return nil
}

// endRoom sends the mark that ends a room's run.
func endRoom(c *matrix.Client, room string, l *check.Ledger) error {
	return sendPatiently(c, room, check.Mark{Run: l.Run, Sender: endSender, Sent: check.Now()})
}

// stopped tells whether an error only says that the readers were called off.
func stopped(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, errEnough)
}

var errEnough = errors.New("stopped")
