package roomserver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// MissingEventsError says which events must be known before an event can be taken
// in: what it comes after, or what authorises it.
type MissingEventsError struct{ Prev, Auth []string }

func (e *MissingEventsError) Error() string {
	return "unknown events are referred to: " + strings.Join(append(e.Prev, e.Auth...), " ")
}

// RefusedError says that an event was stored but isn't shown: rejected by the
// rules, or soft-failed.
type RefusedError struct {
	Flags storage.EventFlags
	Err   error
}

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// errStale is the result of building on a room whose newest events couldn't be
// stored.
var errStale = errors.New("the room's newest events couldn't be stored")

// Receive takes in an event of another server's, whose signatures and hash were
// checked. One that is known already is left as it is. Errors are
// *MissingEventsError, *RefusedError, ErrUnknownRoom, *httpapi.Error.
//
// https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
func (s *Server) Receive(ctx context.Context, pdu gomatrixserverlib.PDU) error {
	return s.receive(ctx, pdu, reception{})
}

// ReceiveToPassOn is Receive for an event that this server alone was given, or has made
// with the one of whom it invites, and sends to the others in the room.
func (s *Server) ReceiveToPassOn(ctx context.Context, pdu gomatrixserverlib.PDU) error {
	return s.receive(ctx, pdu, reception{passOn: true})
}

// ReceiveTold takes in an event of whose predecessors some aren't known, with the state
// before it or those after the missing ones, as another server tells them.
func (s *Server) ReceiveTold(ctx context.Context, pdu gomatrixserverlib.PDU, told []Told) error {
	return s.receive(ctx, pdu, reception{told: told})
}

// reception is how an event came.
type reception struct {
	// told, unless empty, makes up for events that aren't known.
	told []Told
	// passOn is whether this server has to send it to others.
	passOn bool
	// own, unless nil, is the event as it was built here, successor the room's if it ends it.
	own       *storage.Event
	successor int64
	// unwanted, unless nil, is why the room's policy server doesn't recommend the event.
	unwanted error
}

func (s *Server) receive(ctx context.Context, pdu gomatrixserverlib.PDU, how reception) error {
	if err := checkPDU(pdu); err != nil {
		return err
	}
	roomID := pdu.RoomID().String()
	twice := false
	for range maxAttempts {
		var refused *RefusedError
		var ask *askFirstError
		err := s.change(ctx, roomID, func(b *builder) (err error) {
			refused, err = b.receive(pdu, how)
			return err
		})
		switch {
		case errors.As(err, &ask):
			signed, err := s.o.AskPolicyServer(ctx, ask.server, pdu)
			if err != nil && how.own != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if how.unwanted = err; err == nil {
				pdu = signed
			}
			continue
		case errors.Is(err, errStale):
			if rm := s.live.peek(roomID); rm != nil {
				s.live.drop(rm)
			}
			continue
		case storage.IsUniqueViolation(err) && !twice: // it came by two ways at once, maybe without a place in the timeline
			twice = true
			continue
		case err == nil && refused != nil:
			return refused
		}
		if err == nil {
			s.mergeEnds(ctx, roomID)
		}
		return err
	}
	return httpapi.Unavailable(time.Second, "The room's newest events can't be stored; try again")
}

// flushed waits until everything that was built in the room is stored: what an
// event of another server's refers to is looked for in the database. The room's lock
// is held, so that nothing is built meanwhile.
func (b *builder) flushed() error {
	if b.rm.last == nil {
		return nil
	}
	if err := b.rm.last.Wait(b.ctx); err != nil {
		if b.ctx.Err() != nil {
			return err
		}
		return errStale
	}
	return nil
}

func (b *builder) receive(pdu gomatrixserverlib.PDU, how reception) (*RefusedError, error) {
	if err := b.flushed(); err != nil {
		return nil, err
	}
	known, err := b.refersTo(pdu, len(how.told) > 0)
	if err != nil {
		return nil, err
	}
	e := fromPDU(pdu)
	if how.own != nil {
		e.TxnKey, e.TxnID, e.TxnDevice = how.own.TxnKey, how.own.TxnID, how.own.TxnDevice
		b.change.SuccessorNID = how.successor
	}
	if stored := known[e.ID]; stored != nil {
		if stored.Accepted() {
			b.stick(stored)
			return nil, nil
		}
		if stored.Flags&storage.Outlier == 0 {
			return &RefusedError{stored.Flags, httpapi.Forbidden("The event was refused before")}, nil
		}
		b.takeUp(e, stored)
	}
	at, err := b.stateBefore(pdu, known, how.told)
	if err != nil {
		return nil, err
	}
	var unheard []*storage.Event
	if at.partial {
		e.Flags |= storage.Presumed
		unheard = claimed(pdu, known, at.state)
		at.state = withMembers(withMembers(at.state, unheard), wayOut(pdu, known, at.state))
	}
	refused, err := b.judge(pdu, known, at)
	if err == nil && refused == nil {
		if refused, err = b.unwanted(pdu, how); refused != nil {
			e.StickyUntil = 0 // it isn't judged again
		}
	}
	if err != nil {
		return nil, err
	}
	if refused != nil && how.own != nil {
		return refused, nil
	}
	if refused != nil {
		return refused, b.appendRefused(e, at, refused.Flags)
	}
	if how.passOn {
		e.Flags |= storage.PassedOn
	} else if userid.IsLocal(e.Sender, b.s.o.ServerName) {
		e.Flags |= storage.Relayed // others have it, or it wouldn't come from them
	}
	if at.newest {
		if err = b.learn(unheard); err == nil {
			err = b.append(e, pdu)
		}
	} else {
		err = b.receiveBeside(e, pdu, at, known)
	}
	if err == nil && e.Type == "m.room.redaction" {
		err = b.carryOut(e)
	}
	return nil, err
}

// takeUp has an event be the one that is stored without a place in the timeline.
func (b *builder) takeUp(e, stored *storage.Event) {
	e.NID, e.JSON, e.RedactedBy, e.StickyUntil = stored.NID, stored.JSON, stored.RedactedBy, stored.StickyUntil
	b.change.Placed = map[int64]bool{e.NID: true}
}

// number gives an event its number, unless it has one.
func (b *builder) number(e *storage.Event) (err error) {
	if e.NID == 0 {
		e.NID, err = b.s.db.NextNID(b.ctx)
	}
	return err
}

// refersTo reads the events that the event refers to, and the event itself if it is
// known. Where the state before it is told, what it comes after may be missing.
func (b *builder) refersTo(pdu gomatrixserverlib.PDU, told bool) (map[string]*storage.Event, error) {
	known, err := b.knownOf(append(append([]string{pdu.EventID()}, pdu.PrevEventIDs()...), pdu.AuthEventIDs()...))
	if err != nil {
		return nil, err
	}
	if e := known[pdu.EventID()]; e != nil && e.Flags&storage.Outlier == 0 {
		return known, nil
	}
	missing := MissingEventsError{Auth: unknownOf(pdu.AuthEventIDs(), known)}
	if !told {
		missing.Prev = notInTimeline(pdu.PrevEventIDs(), known)
	}
	if len(missing.Prev)+len(missing.Auth) > 0 {
		return nil, &missing
	}
	return known, nil
}

// stateAt is the state before an event.
type stateAt struct {
	state storage.StateMap
	// newest: it is the room's newest state, and the event comes after all others.
	newest bool
	// partial: it lacks members.
	partial bool
	// snapshot is the one of the state, 0 if it isn't known.
	snapshot int64
}

// stateBefore is the state before the event: that after the events it comes after,
// resolved where they disagree, or what it is told to be.
func (b *builder) stateBefore(pdu gomatrixserverlib.PDU, known map[string]*storage.Event, told []Told) (stateAt, error) {
	prev := pdu.PrevEventIDs()
	if len(prev) == 0 {
		return stateAt{}, httpapi.BadJSON("The event comes after no other")
	}
	if len(told) == 0 && sameSet(prev, b.head.row.ForwardExtremities) {
		return stateAt{state: b.head.state, newest: true, partial: b.head.row.IsPartial()}, nil
	}
	sets, err := b.toldStates(told)
	if err != nil {
		return stateAt{}, err
	}
	partial := false
	for _, id := range prev {
		e := known[id]
		if len(told) > 0 && (told[0].After == "" || e == nil || e.Flags&storage.Outlier != 0) {
			continue
		}
		after, err := b.s.StateAfter(b.ctx, e)
		if err != nil {
			return stateAt{}, err
		}
		sets = append(sets, after)
		partial = partial || b.head.row.IsPartial() && e.Flags&storage.Presumed != 0
	}
	state, err := b.resolve(sets)
	return stateAt{state: state, partial: partial}, err
}

func sameSet(a, b []string) bool {
	set := map[string]bool{}
	for _, x := range a {
		set[x] = true
	}
	for _, x := range b {
		if !set[x] {
			return false
		}
	}
	return len(set) == len(b)
}

// judge applies the authorisation rules: by the events that the event names, by the
// state before it, and by the room's newest state, unless it is known only in part. An
// error is no judgement: the rules couldn't be applied.
func (b *builder) judge(pdu gomatrixserverlib.PDU, known map[string]*storage.Event, at stateAt) (*RefusedError, error) {
	for _, rules := range []struct {
		flags storage.EventFlags
		apply func() error
	}{
		{storage.Rejected, func() error { return b.allowedByAuthEvents(pdu, known) }},
		{storage.Rejected, func() error { return b.allowedBy(pdu, at.state) }},
		{storage.SoftFailed, func() error { return b.allowedBy(pdu, b.head.state) }},
	} {
		if rules.flags == storage.SoftFailed && b.head.row.IsPartial() {
			break // who may be missing in it is no member
		}
		err := rules.apply()
		var refused *httpapi.Error
		if errors.As(err, &refused) {
			return &RefusedError{rules.flags, err}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (b *builder) allowedByAuthEvents(pdu gomatrixserverlib.PDU, known map[string]*storage.Event) error {
	var list []*storage.Event
	for _, id := range pdu.AuthEventIDs() {
		e := known[id]
		if e.Flags&storage.Rejected != 0 {
			return httpapi.Forbidden("It is authorised by %s, which was rejected", id)
		}
		list = append(list, e)
	}
	if err := rightAuthorities(b.rm.version, pdu, list); err != nil {
		return err
	}
	if b.rm.version.DomainlessRoomIDs() { // there the room's id names the create event
		if create, ok := b.head.state.Get(storage.StateTuple{Type: "m.room.create"}); ok {
			e, err := b.s.event(b.ctx, create.EventNID)
			if err != nil {
				return err
			}
			list = append(list, e)
		}
	}
	return b.allowed(pdu, list)
}

// allowedBy applies the rules with a state of the room.
func (b *builder) allowedBy(pdu gomatrixserverlib.PDU, state storage.StateMap) error {
	var nids []int64
	for _, t := range authoritiesOf(pdu, b.rm.version) {
		if entry, ok := state.Get(t); ok {
			nids = append(nids, entry.EventNID)
		}
	}
	list, err := b.s.EventList(b.ctx, nids)
	if err != nil {
		return err
	}
	return b.allowed(pdu, list)
}

// rightAuthorities makes sure that an event names nothing as its authority that has no
// say, and nothing twice.
//
// https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
func rightAuthorities(v gomatrixserverlib.IRoomVersion, pdu gomatrixserverlib.PDU, list []*storage.Event) error {
	expected := map[storage.StateTuple]bool{}
	for _, t := range authoritiesOf(pdu, v) {
		expected[t] = true // that of the room's making too, which the library adds where nobody may name it
	}
	for _, e := range list {
		if !e.IsState() || !expected[storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}] {
			return httpapi.Forbidden("It names %s as its authority, which has no say in it or is named twice", e.ID)
		}
		expected[storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}] = false
	}
	return nil
}

func (b *builder) allowed(pdu gomatrixserverlib.PDU, list []*storage.Event) error {
	auth := make([]gomatrixserverlib.PDU, 0, len(list))
	for _, e := range list {
		a, err := b.parsed(e)
		if err != nil {
			return err
		}
		auth = append(auth, a)
	}
	return Authorise(pdu, auth)
}

// appendRefused stores an event that isn't shown, so that what refers to it can be
// judged.
func (b *builder) appendRefused(e *storage.Event, at stateAt, flags storage.EventFlags) error {
	if err := b.number(e); err != nil {
		return err
	}
	var err error
	e.RoomNID = b.head.row.NID
	e.Flags |= flags
	if e.SnapshotNID, err = b.snapshotOf(at); err != nil {
		return err
	}
	b.change.Events = append(b.change.Events, e)
	b.s.events.Set(e.NID, e)
	return nil
}

// snapshotOf is the snapshot of a state, made if need be.
func (b *builder) snapshotOf(at stateAt) (int64, error) {
	if at.newest || at.state == b.head.state {
		return b.head.row.SnapshotNID, nil
	}
	if at.snapshot != 0 {
		return at.snapshot, nil
	}
	return b.wholeSnapshot(nidsOf(at.state))
}

func nidsOf(state storage.StateMap) []int64 {
	nids := make([]int64, 0, state.Len())
	for it := state.Iterator(); !it.Done(); {
		_, entry, _ := it.Next()
		nids = append(nids, entry.EventNID)
	}
	return nids
}

// receiveBeside takes in an accepted event that doesn't come after all others.
func (b *builder) receiveBeside(e *storage.Event, pdu gomatrixserverlib.PDU, at stateAt, known map[string]*storage.Event) error {
	kept, err := b.redactLate(e, pdu)
	if err != nil {
		return err
	}
	if err := b.appendBeside(e, kept, at); err != nil {
		return err
	}
	if e.RedactedBy != "" {
		b.change.Redactions = append(b.change.Redactions, e)
	}
	return b.addGap(e, at.state, pdu, known)
}

// appendBeside appends an event that doesn't come after all others: the room has a
// fork, or one less, and its state is resolved anew over its ends.
func (b *builder) appendBeside(e *storage.Event, pdu gomatrixserverlib.PDU, at stateAt) error {
	if err := b.number(e); err != nil {
		return err
	}
	var err error
	e.RoomNID = b.head.row.NID
	if e.SnapshotNID, err = b.snapshotOf(at); err != nil {
		return err
	}
	after := at.state
	if e.IsState() {
		tuple := storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}
		old, _ := after.Get(tuple)
		e.ReplacesNID = old.EventNID
		after = after.Set(tuple, entryOf(e))
	}
	b.change.Events = append(b.change.Events, e)
	b.s.events.Set(e.NID, e)
	b.notify(e)
	if missed, err := b.wasMissed(e.ID); err != nil || missed {
		return err // what comes after it is there already
	}
	ends, sets, err := b.otherEnds(pdu)
	if err != nil {
		return err
	}
	b.pdus[e.NID] = pduRef{pdu: pdu}
	state, err := b.resolve(append(sets, after))
	delete(b.pdus, e.NID)
	if err != nil {
		return err
	}
	b.head.row.ForwardExtremities = append(ends, e.ID)
	b.head.row.Depth = max(b.head.row.Depth, e.Depth)
	return b.replaceState(state, map[int64]*storage.Event{e.NID: e}, len(b.change.Events)-1)
}

// wasMissed reports whether an event is missing before another that is there.
func (b *builder) wasMissed(id string) (bool, error) {
	gaps, err := b.s.Gaps(b.ctx, []int64{b.head.row.NID})
	for _, g := range gaps[b.head.row.NID] {
		if slices.Contains(g.Missing, id) {
			return true, nil
		}
	}
	return false, err
}

// otherEnds are the room's ends that the event doesn't come after, and the states
// after them. Of very many, which only a server can make that means no good, the state
// that they were resolved to stands for theirs.
func (b *builder) otherEnds(pdu gomatrixserverlib.PDU) (ends []string, sets []storage.StateMap, err error) {
	behind := map[string]bool{}
	for _, id := range pdu.PrevEventIDs() {
		behind[id] = true
	}
	for _, id := range b.head.row.ForwardExtremities {
		if !behind[id] {
			ends = append(ends, id)
		}
	}
	if len(ends) > maxPrevEvents {
		return ends, []storage.StateMap{b.head.state}, nil
	}
	list, err := b.s.db.EventsByID(b.ctx, ends)
	if err != nil {
		return nil, nil, err
	}
	for _, end := range list {
		after, err := b.s.StateAfter(b.ctx, end)
		if err != nil {
			return nil, nil, err
		}
		sets = append(sets, after)
	}
	return ends, sets, nil
}

// carryOut carries out a redaction, or keeps it for the case that its target comes.
func (b *builder) carryOut(e *storage.Event) error {
	target := redactsOf(b.rm.version, e)
	list, err := b.s.db.EventsByID(b.ctx, []string{target})
	if err != nil {
		return err
	}
	if len(list) == 0 && mayBeID(target) {
		b.change.PendingRedactions = append(b.change.PendingRedactions, storage.PendingRedaction{Target: target, RedactionID: e.ID})
	}
	if len(list) == 0 || list[0].RoomNID != b.head.row.NID {
		return nil
	}
	if b.mayRedact(e.Sender, &redactionTarget{target, list[0]}) != nil {
		return nil // the event stands, without effect
	}
	return b.redact(list[0], e)
}
