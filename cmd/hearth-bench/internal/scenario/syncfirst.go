package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// firstFilter asks for what an app shows first: the newest messages of every
// room, and of the members those who wrote them.
const firstFilter = `{"room":{"timeline":{"limit":20,"lazy_load_members":true},"state":{"lazy_load_members":true}}}`

const firstLimit = 20

// firstSyncs is how often the first sync is made; the figure is the median.
const firstSyncs = 5

// runSyncFirst measures the first sync of a user in many rooms.
func runSyncFirst(ctx context.Context, e *Env, report func(Result)) error {
	for _, n := range e.Rooms {
		user, rooms, err := e.inRooms(ctx, n)
		if err != nil {
			return err
		}
		r := Result{Case: fmt.Sprintf("%d rooms of %d messages", n, e.RoomMessages)}
		if err := e.firstSync(ctx, user, rooms, &r); err != nil {
			r.Error = err.Error()
		}
		report(r)
	}
	return nil
}

func (e *Env) firstSync(ctx context.Context, user matrix.Account, rooms []*room, r *Result) error {
	var took []float64
	var d matrix.Delta
	for range firstSyncs {
		c := e.client(ctx, user)
		from := time.Now()
		err := c.FirstSync(firstFilter, &d)
		took = append(took, milliseconds(time.Since(from)))
		if err == nil {
			r.judge(judgeFirst(&d, rooms, min(e.RoomMessages, firstLimit-len(e.Rooms))))
		}
		c.Close()
		if err != nil {
			return err
		}
	}
	slices.Sort(took)
	r.add("time", "ms", took[len(took)/2])
	r.add("fastest", "ms", took[0])
	r.add("slowest", "ms", took[len(took)-1])
	r.add("size", "KiB", float64(d.Bytes)/1024)
	return nil
}

// judgeFirst checks that a first sync shows of every room the newest messages,
// in their order, and at least as many as given: joins take up places too.
func judgeFirst(d *matrix.Delta, rooms []*room, least int) check.Verdict {
	v := check.Verdict{Readers: 1}
	shown := map[string][]matrix.Event{}
	for _, t := range d.Rooms {
		shown[string(t.Room)] = t.Events
	}
	for _, r := range rooms {
		l := check.NewLedger(r.Run)
		view := l.NewView()
		for _, ev := range shown[r.ID] {
			if ev.Marked {
				view.See(ev.Mark, ev.ID)
			}
		}
		for seq := r.Events - max(view.Len(), least); seq < r.Events; seq++ {
			l.Expect(check.Mark{Run: r.Run, Seq: seq})
		}
		v.Add(l.Judge(view))
	}
	v.Readers = 1
	return v
}
