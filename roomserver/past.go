package roomserver

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// Past is a piece of a room's past behind a gap of its timeline, as another server
// tells it.
type Past struct {
	gap storage.Gap
	// events are those that come before the gap, the newest first.
	events []gomatrixserverlib.PDU
	known  map[string]*storage.Event
	// Oldest are the events before which something is missing: the state before them has
	// to be asked for.
	Oldest []string
	// Unknown are the events that authorise these and aren't known.
	Unknown []string
	// missing comes right before these.
	missing []string
}

// Len is how many events there are.
func (p *Past) Len() int { return len(p.events) }

// Events are the events, the oldest first.
func (p *Past) Events() []gomatrixserverlib.PDU {
	list := slices.Clone(p.events)
	slices.Reverse(list)
	return list
}

// Complete reports whether nothing is missing before the events.
func (p *Past) Complete() bool { return len(p.missing) == 0 }

// State are those of the events that change the room's state.
func (p *Past) State() (list []gomatrixserverlib.PDU) {
	for _, pdu := range p.events {
		if pdu.StateKey() != nil {
			list = append(list, pdu)
		}
	}
	return list
}

// FindPast finds, among events whose signatures and hashes were checked, those that
// belong behind a gap.
func (s *Server) FindPast(ctx context.Context, v *View, gap *storage.Gap, pdus []gomatrixserverlib.PDU) (*Past, error) {
	byID := map[string]gomatrixserverlib.PDU{}
	ids := slices.Clone(gap.Missing)
	for _, pdu := range pdus {
		if checkNames(pdu) == nil && pdu.RoomID().String() == v.Room.ID {
			byID[pdu.EventID()] = pdu
			ids = append(append(append(ids, pdu.EventID()), pdu.PrevEventIDs()...), pdu.AuthEventIDs()...)
		}
	}
	list, err := s.db.EventsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	p := &Past{gap: *gap, known: map[string]*storage.Event{}}
	for _, e := range list {
		if e.RoomNID == v.Room.NID {
			p.known[e.ID] = e
		}
	}
	p.events = newestFirst(notInTimeline(gap.Missing, p.known), byID, p.known)
	p.bound(byID)
	return p, nil
}

// bound finds what is missing around the events.
func (p *Past) bound(byID map[string]gomatrixserverlib.PDU) {
	here := map[string]bool{}
	for _, pdu := range p.events {
		here[pdu.EventID()] = true
	}
	missing := map[string]bool{}
	lacks := func(ids []string) bool {
		found := false
		for _, id := range notInTimeline(ids, p.known) {
			if !here[id] {
				missing[id], found = true, true
			}
		}
		return found
	}
	lacks(p.gap.Missing)
	for _, pdu := range p.events {
		if lacks(pdu.PrevEventIDs()) {
			p.Oldest = append(p.Oldest, pdu.EventID())
		}
		for _, id := range unknownOf(pdu.AuthEventIDs(), p.known) {
			if byID[id] == nil && !slices.Contains(p.Unknown, id) {
				p.Unknown = append(p.Unknown, id)
			}
		}
	}
	for id := range missing {
		p.missing = append(p.missing, id)
	}
	slices.Sort(p.missing)
}

// newestFirst sorts what can be reached from the starts, each event before those that it
// comes after. What has a place in the timeline is left out.
func newestFirst(starts []string, byID map[string]gomatrixserverlib.PDU, known map[string]*storage.Event) []gomatrixserverlib.PDU {
	children := map[string]int{} // of each event that can be reached
	reached := map[string]bool{}
	for todo := slices.Clone(starts); len(todo) > 0; {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		pdu := byID[id]
		if pdu == nil || reached[id] || len(notInTimeline([]string{id}, known)) == 0 {
			continue
		}
		reached[id] = true
		for _, prev := range distinctIDs(pdu.PrevEventIDs()) {
			children[prev]++
			todo = append(todo, prev)
		}
	}
	var ready pdusByDepth
	for id := range reached {
		if children[id] == 0 {
			heap.Push(&ready, byID[id])
		}
	}
	var sorted []gomatrixserverlib.PDU
	for ready.Len() > 0 {
		pdu := heap.Pop(&ready).(gomatrixserverlib.PDU)
		sorted = append(sorted, pdu)
		for _, prev := range distinctIDs(pdu.PrevEventIDs()) {
			if children[prev]--; children[prev] == 0 && reached[prev] {
				heap.Push(&ready, byID[prev])
			}
		}
	}
	return sorted
}

func distinctIDs(ids []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(ids)))
}

// pdusByDepth is a heap, the deepest event on top.
type pdusByDepth []gomatrixserverlib.PDU

func (q pdusByDepth) Len() int { return len(q) }
func (q pdusByDepth) Less(i, j int) bool {
	if q[i].Depth() != q[j].Depth() {
		return q[i].Depth() > q[j].Depth()
	}
	if q[i].OriginServerTS() != q[j].OriginServerTS() {
		return q[i].OriginServerTS() > q[j].OriginServerTS()
	}
	return q[i].EventID() > q[j].EventID()
}
func (q pdusByDepth) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pdusByDepth) Push(x any)   { *q = append(*q, x.(gomatrixserverlib.PDU)) }
func (q *pdusByDepth) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// AddPast stores a piece of the past where it belongs. The state events of it, and
// what authorises any of its events, must have been stored as outliers; told are the
// states before the oldest events.
func (s *Server) AddPast(ctx context.Context, v *View, p *Past, told map[string][]string) error {
	for range maxAttempts {
		rm, err := s.load(ctx, v.Room.ID)
		if err != nil {
			return err
		}
		err = s.addPast(ctx, rm, v, p, told)
		if !errors.Is(err, errRetry) && !errors.Is(err, errBehind) && !errors.Is(err, errStale) {
			return err
		}
		s.live.drop(rm)
	}
	return httpapi.Unavailable(time.Second, "The room is changing too fast; try again")
}

func (s *Server) addPast(ctx context.Context, rm *room, v *View, p *Past, told map[string][]string) error {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if rm.dead {
		return errRetry
	}
	if rm.isBehind() {
		return errBehind
	}
	b := &builder{ctx: ctx, s: s, rm: rm, head: rm.head, pdus: map[int64]pduRef{}}
	if err := b.flushed(); err != nil {
		return err
	}
	w := &pastWriter{stateWriter: stateWriter{builder: b}, past: p, told: told, after: map[string]placeState{},
		old: storage.OldEvents{Gap: p.gap, Known: map[int64]bool{}}, events: map[string]*storage.Event{}}
	if err := w.write(); err != nil {
		return err
	}
	w.old.Snapshots = w.rows
	if err := s.db.AddOldEvents(ctx, &w.old); err != nil && !errors.Is(err, storage.ErrGapMoved) {
		return err
	}
	s.forgetPast(v.Room.NID)
	for _, list := range [][]*storage.Event{w.old.Events, w.old.Redacted} {
		for _, e := range list {
			s.events.Set(e.NID, e)
		}
	}
	return nil
}

// pastWriter goes through a piece of the past, the oldest event first.
type pastWriter struct {
	stateWriter
	past   *Past
	told   map[string][]string
	old    storage.OldEvents
	events map[string]*storage.Event
	after  map[string]placeState // the state after each event
}

func (w *pastWriter) write() error {
	ids := []string{}
	for _, pdu := range w.past.events {
		ids = append(append(ids, pdu.EventID()), pdu.AuthEventIDs()...)
	}
	var err error
	if w.past.known, err = w.knownOf(append(ids, prevsOf(w.past.events)...)); err != nil {
		return err
	}
	var oldest placeState
	for i, pdu := range slices.Backward(w.past.events) {
		before, err := w.before(pdu)
		if err != nil {
			return err
		}
		if err := w.place(pdu, before, w.past.gap.Sub-1-int32(i)); err != nil {
			return err
		}
		if i == len(w.past.events)-1 {
			oldest = before
		}
	}
	if err := w.redactions(); err != nil {
		return err
	}
	if len(w.past.missing) == 0 {
		return nil
	}
	left := w.past.gap
	left.Missing = w.past.missing
	if n := int32(len(w.past.events)); n > 0 {
		left.Sub -= n
		left.SnapshotNID = oldest.snapshot
		if left.Visibility, err = w.visibilityIn(oldest.state); err != nil {
			return err
		}
	}
	w.old.Left = &left
	return nil
}

func prevsOf(pdus []gomatrixserverlib.PDU) (ids []string) {
	for _, pdu := range pdus {
		ids = append(ids, pdu.PrevEventIDs()...)
	}
	return ids
}

// before is the state before an event: as told, or that after those it comes after.
func (w *pastWriter) before(pdu gomatrixserverlib.PDU) (placeState, error) {
	if ids, ok := w.told[pdu.EventID()]; ok {
		state, err := w.s.db.StateOf(w.ctx, w.head.row.NID, ids)
		if err != nil {
			return placeState{}, err
		}
		return w.whole(state)
	}
	var found []placeState
	var sets []storage.StateMap
	for _, id := range distinctIDs(pdu.PrevEventIDs()) {
		after, ok := w.after[id]
		if e := w.past.known[id]; !ok && e != nil && e.Flags&storage.Outlier == 0 {
			state, err := w.s.StateAfter(w.ctx, e)
			if err != nil {
				return placeState{}, err
			}
			after, ok = placeState{state: state, snapshot: e.SnapshotNID}, true
			if e.IsState() {
				after.snapshot = 0
			}
		}
		if ok {
			found, sets = append(found, after), append(sets, after.state)
		}
	}
	if len(found) == 0 && len(pdu.PrevEventIDs()) > 0 { // nobody told: that behind the gap is nearest
		state, err := w.s.db.StateAt(w.ctx, w.past.gap.SnapshotNID)
		return placeState{state: state, snapshot: w.past.gap.SnapshotNID}, err
	}
	if len(found) == 0 {
		return placeState{state: storage.NewStateMap()}, nil
	}
	state, err := w.resolve(sets)
	if err != nil {
		return placeState{}, err
	}
	for _, f := range found {
		if f.state == state && f.snapshot != 0 {
			return f, nil
		}
	}
	return w.whole(state)
}

// place judges an event and gives it its place.
func (w *pastWriter) place(pdu gomatrixserverlib.PDU, before placeState, sub int32) error {
	e := fromPDU(pdu)
	stored := w.past.known[e.ID]
	if stored != nil { // with what has become of it since
		copied := *stored
		e = &copied
		w.old.Known[e.NID] = true
	} else {
		var err error
		if e.NID, err = w.s.db.NextNID(w.ctx); err != nil {
			return err
		}
	}
	e.RoomNID, e.RoomID, e.SnapshotNID = w.head.row.NID, w.head.row.ID, before.snapshot
	e.Place = storage.Place{Position: w.past.gap.Position, Sub: sub}
	e.Flags &= storage.Rejected
	if e.Flags == 0 {
		refused, err := w.judgePast(pdu, before.state)
		if err != nil {
			return err
		}
		if refused {
			e.Flags = storage.Rejected
		}
	}
	after := before
	if e.Flags == 0 && e.IsState() {
		tuple := storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}
		old, _ := before.state.Get(tuple)
		e.ReplacesNID = old.EventNID
		var err error
		if after, err = w.with(before, tuple, e, old.EventNID); err != nil {
			return err
		}
	}
	w.old.Events = append(w.old.Events, e)
	w.events[e.ID] = e
	w.after[e.ID] = after
	return nil
}

// judgePast applies the rules that an event of the past must meet: it can't soft-fail.
func (w *pastWriter) judgePast(pdu gomatrixserverlib.PDU, before storage.StateMap) (refused bool, err error) {
	if len(unknownOf(pdu.AuthEventIDs(), w.past.known)) > 0 {
		return true, nil
	}
	for _, apply := range []func() error{
		func() error { return w.allowedByAuthEvents(pdu, w.past.known) },
		func() error { return w.allowedBy(pdu, before) },
	} {
		err := apply()
		var e *httpapi.Error
		if errors.As(err, &e) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}
