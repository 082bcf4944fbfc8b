package roomserver

import (
	"context"
	"errors"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// maxJudgedAtOnce bounds the events that are read at once to be judged anew.
const maxJudgedAtOnce = 500

// Complete makes a room whole that was joined without its members by the given event. told
// is the state before that, whose events are stored. What has come since is judged anew. A
// room that is whole, or was joined by another event since, stays as it is.
func (s *Server) Complete(ctx context.Context, roomID, joinID string, told []Told) error {
	err := s.change(ctx, roomID, func(b *builder) error {
		if err := b.flushed(); err != nil {
			return err
		}
		if !b.head.row.IsPartial() || b.head.row.Partial.JoinID != joinID {
			return nil
		}
		return b.complete(told)
	})
	if errors.Is(err, errStale) {
		return httpapi.Unavailable(0, "The room's newest events can't be stored; try again")
	}
	return err
}

func (b *builder) complete(told []Told) error {
	base, err := b.toldState(told)
	if err != nil {
		return err
	}
	create := storage.StateTuple{Type: "m.room.create"}
	known, _ := b.head.state.Get(create)
	if e, ok := base.Get(create); !ok || e.EventNID != known.EventNID {
		return httpapi.BadJSON("The state that is told isn't one of the room")
	}
	j := &rejudging{stateWriter: stateWriter{builder: b}, after: map[string]placeState{}, known: map[string]*storage.Event{},
		behind: map[string]bool{}, fallen: map[string][]string{}}
	if j.base, err = j.whole(base); err != nil {
		return err
	}
	if err := j.all(); err != nil {
		return err
	}
	if err := j.makeCurrent(); err != nil {
		return err
	}
	done := *b.head.row.Partial
	done.Servers, done.Done = nil, true
	b.head.row.Partial, b.change.PartialChanged, b.change.Completed = &done, true, true
	b.change.Snapshots = j.rows
	return b.announceDevices(done.JoinedAt)
}

// announceDevices has other servers told again of those devices of the room's users that
// have changed since a position: not all servers were known that had to learn of it.
func (b *builder) announceDevices(since storage.Position) error {
	changes, err := b.s.db.DeviceChangesOf(b.ctx, joinedOf(b.head.state, b.s.o.ServerName), since)
	for _, c := range changes {
		b.deviceLists = append(b.deviceLists, storage.DeviceListChange{UserID: c.UserID, DeviceID: c.DeviceID, Announce: true})
	}
	return err
}

// rejudging judges anew what came while not all of a room's members were known, in the
// order in which it came.
type rejudging struct {
	stateWriter
	base placeState
	// after is the state after each event, by id.
	after map[string]placeState
	// known are events that others refer to, as they are judged now.
	known map[string]*storage.Event
	// behind are events that others come after, revived those that were rejected and aren't
	// any more, and fallen those of which it is the other way, with what they come after.
	behind  map[string]bool
	revived []string
	fallen  map[string][]string
}

func (j *rejudging) all() error {
	for from := j.head.row.Partial.JoinedAt; ; {
		list, err := j.s.db.EventsToJudgeAnew(j.ctx, j.head.row.NID, from, maxJudgedAtOnce)
		if err != nil {
			return err
		}
		pdus := make([]gomatrixserverlib.PDU, len(list))
		var ids []string
		for i, e := range list {
			if pdus[i], err = pduOf(j.rm.version, e); err != nil {
				return err
			}
			ids = append(append(ids, pdus[i].AuthEventIDs()...), pdus[i].PrevEventIDs()...)
		}
		if err := j.read(ids); err != nil {
			return err
		}
		for i, e := range list {
			if err := j.judge(e, pdus[i]); err != nil {
				return err
			}
			from = e.Position + 1
		}
		if len(list) < maxJudgedAtOnce {
			return nil
		}
	}
}

// read reads those of the events that weren't yet.
func (j *rejudging) read(ids []string) error {
	list, err := j.knownOf(unknownOf(distinctIDs(ids), j.known))
	for id, e := range list {
		j.known[id] = e
	}
	return err
}

func (j *rejudging) judge(stored *storage.Event, pdu gomatrixserverlib.PDU) error {
	before, err := j.before(stored, pdu)
	if err != nil {
		return err
	}
	refused, err := j.refused(pdu, before.state)
	if err != nil {
		return err
	}
	was := stored.Flags&storage.Rejected != 0
	copied := *stored
	e := &copied
	e.Flags &^= storage.Rejected | storage.Presumed
	if refused {
		e.Flags |= storage.Rejected
	}
	e.SnapshotNID, e.ReplacesNID = before.snapshot, 0
	after := before
	if !refused && e.IsState() {
		old, _ := before.state.Get(tupleOf(e))
		e.ReplacesNID = old.EventNID
		if after, err = j.with(before, tupleOf(e), e, old.EventNID); err != nil {
			return err
		}
	}
	j.after[e.ID], j.known[e.ID] = after, e
	switch {
	case refused && !was:
		j.fallen[e.ID] = pdu.PrevEventIDs()
	case !refused:
		for _, id := range pdu.PrevEventIDs() {
			j.behind[id] = true
		}
	}
	if was && !refused {
		return j.revive(e)
	}
	j.change.JudgedAnew = append(j.change.JudgedAnew, e)
	return nil
}

// revive shows an event that was rejected wrongly, as one that has just come.
func (j *rejudging) revive(e *storage.Event) error {
	e.Place = storage.Place{}
	if j.change.Placed == nil {
		j.change.Placed = map[int64]bool{}
	}
	j.change.Placed[e.NID] = true
	j.change.Events = append(j.change.Events, e)
	j.revived = append(j.revived, e.ID)
	j.s.events.Set(e.NID, e)
	j.notify(e)
	if e.Type == "m.room.redaction" {
		return j.carryOut(e)
	}
	return nil
}

// refused reports whether the rules don't allow an event. By the room's newest state it
// can't be judged: nobody knew that when the event came.
func (j *rejudging) refused(pdu gomatrixserverlib.PDU, before storage.StateMap) (bool, error) {
	if len(unknownOf(pdu.AuthEventIDs(), j.known)) > 0 {
		return true, nil
	}
	verdict, err := j.builder.judge(pdu, j.known, stateAt{state: before})
	return verdict != nil, err
}

// before is the state before an event: that after those it comes after. Where one of them
// is missing, what the event's own state was thought to be has a say.
func (j *rejudging) before(e *storage.Event, pdu gomatrixserverlib.PDU) (placeState, error) {
	if e.ID == j.head.row.Partial.JoinID {
		return j.base, nil
	}
	var found []placeState
	missing := false
	for _, id := range distinctIDs(pdu.PrevEventIDs()) {
		if after, ok := j.after[id]; ok {
			found = append(found, after)
		} else if prev := j.known[id]; prev == nil || prev.Flags&storage.Outlier != 0 {
			missing = true
		} else {
			state, err := j.s.StateAfter(j.ctx, prev)
			if err != nil {
				return placeState{}, err
			}
			found = append(found, placeState{state: state})
		}
	}
	if missing {
		state, err := j.s.db.StateAt(j.ctx, e.SnapshotNID)
		if err != nil {
			return placeState{}, err
		}
		found = append(found, placeState{state: state})
	}
	return j.resolved(found)
}

// resolved is the state that several make.
func (j *rejudging) resolved(found []placeState) (placeState, error) {
	sets := make([]storage.StateMap, len(found))
	for i, f := range found {
		sets[i] = f.state
	}
	state, err := j.resolve(sets)
	if err != nil {
		return placeState{}, err
	}
	for _, f := range found {
		if f.state == state && f.snapshot != 0 {
			return f, nil
		}
	}
	return j.whole(state)
}

// ends are the room's ends now. Where one was rejected, what it comes after stands for it.
func (j *rejudging) ends() (list []string) {
	seen := map[string]bool{}
	todo := append(append([]string{}, j.head.row.ForwardExtremities...), j.revived...)
	for len(todo) > 0 {
		id := todo[0]
		todo = todo[1:]
		if seen[id] || j.behind[id] {
			continue
		}
		seen[id] = true
		if prevs, fell := j.fallen[id]; fell {
			todo = append(todo, prevs...)
		} else if e := j.known[id]; e == nil || e.Flags&(storage.Outlier|storage.Rejected) == 0 {
			list = append(list, id)
		}
	}
	if len(list) == 0 {
		return []string{j.head.row.Partial.JoinID}
	}
	return list
}

// makeCurrent makes the state at the room's ends its newest.
func (j *rejudging) makeCurrent() error {
	ends := j.ends()
	if err := j.read(ends); err != nil {
		return err
	}
	var found []placeState
	for _, id := range ends {
		after, ok := j.after[id]
		if e := j.known[id]; !ok && e != nil {
			state, err := j.s.StateAfter(j.ctx, e)
			if err != nil {
				return err
			}
			after, ok = placeState{state: state}, true
		}
		if ok {
			found = append(found, after)
		}
	}
	now, err := j.resolved(found)
	if err != nil {
		return err
	}
	events, err := j.newMembers(now.state)
	if err != nil {
		return err
	}
	if err := j.changeState(now.state, events, len(j.change.Events)); err != nil {
		return err
	}
	j.head.row.ForwardExtremities, j.head.row.SnapshotNID = ends, now.snapshot
	j.head.state, j.head.chain = now.state, now.chain
	return j.summariseAnew(events)
}

// newMembers are the member events of a state that the room's newest doesn't have, without
// their text.
func (j *rejudging) newMembers(state storage.StateMap) (map[int64]*storage.Event, error) {
	var nids []int64
	for it := state.Iterator(); !it.Done(); {
		t, e, _ := it.Next()
		if old, ok := j.head.state.Get(t); t.Type == "m.room.member" && (!ok || old.EventNID != e.EventNID) {
			nids = append(nids, e.EventNID)
		}
	}
	return j.s.db.MemberEvents(j.ctx, j.head.row.NID, nids)
}
