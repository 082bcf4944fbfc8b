package roomserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// Import is a room as another server handed it over when it let one of this
// server's users in. All of it must have been checked: the signatures, the hashes,
// and each event against the rules.
type Import struct {
	RoomID  string
	Version gomatrixserverlib.RoomVersion
	// Join is the event that let the user in, State the room's state before it, Auth
	// what authorises that.
	Join        gomatrixserverlib.PDU
	State, Auth []gomatrixserverlib.PDU
	// Partial, unless nil, says that members are left out of the state.
	Partial *storage.Partial
}

// ErrInRoom is returned for a room that would be taken over, but that one of this server's users
// has come into meanwhile.
var ErrInRoom = errors.New("this server is in the room by now")

// Import takes over a room from another server. What was known of it from former
// stays is replaced by the state that the other server tells; the timeline goes on
// from the join.
func (s *Server) Import(ctx context.Context, r Import) error {
	for _, pdu := range slices.Concat(r.Auth, r.State, []gomatrixserverlib.PDU{r.Join}) {
		if err := checkPDU(pdu); err != nil {
			return err
		}
	}
	twice := false
	for range maxAttempts {
		err := s.tryImport(ctx, r)
		switch {
		case errors.Is(err, storage.ErrOvertaken):
		case storage.IsUniqueViolation(err) && !twice: // some of it may have come by another way since it was looked for
			twice = true
		default:
			return err
		}
	}
	return httpapi.Unavailable(time.Second, "The room is changing too fast; try again")
}

func (s *Server) tryImport(ctx context.Context, r Import) error {
	known, err := s.knownEvents(ctx, r)
	if err != nil {
		return err
	}
	build := func(b *builder) error {
		if b.s.JoinedServers(&View{Room: b.head.row, State: b.head.state})[b.s.o.ServerName] > 0 {
			return ErrInRoom
		}
		return b.importRoom(r, known)
	}
	_, err = s.load(ctx, r.RoomID)
	switch {
	case err == nil:
		return s.change(ctx, r.RoomID, build)
	case !errors.Is(err, ErrUnknownRoom):
		return err
	}
	version, err := gomatrixserverlib.GetRoomVersion(r.Version)
	if err != nil {
		return fmt.Errorf("importing %s: %w", r.RoomID, err)
	}
	_, err = s.startRoom(ctx, version, r.RoomID, build)
	return err
}

// knownEvents are those of the import, and those that the join comes after, that are
// stored already, by id.
func (s *Server) knownEvents(ctx context.Context, r Import) (map[string]*storage.Event, error) {
	ids := make([]string, 0, len(r.State)+len(r.Auth))
	for _, pdu := range slices.Concat(r.Auth, r.State) {
		ids = append(ids, pdu.EventID())
	}
	ids = append(ids, r.Join.PrevEventIDs()...)
	list, err := s.db.EventsByID(ctx, ids)
	known := make(map[string]*storage.Event, len(ids))
	for _, e := range list {
		if e.RoomID == r.RoomID {
			known[e.ID] = e
		}
	}
	return known, err
}

func (b *builder) importRoom(r Import, known map[string]*storage.Event) error {
	if b.rm.version.Version() != r.Version {
		return httpapi.Forbidden("The room has version %s, not %s", b.rm.version.Version(), r.Version)
	}
	events := make(map[string]*storage.Event, len(known))
	for _, pdu := range slices.Concat(r.Auth, r.State) {
		if err := b.addOutlier(pdu, known, events); err != nil {
			return err
		}
	}
	state := storage.NewStateMapBuilder()
	for _, pdu := range r.State {
		e := events[pdu.EventID()]
		if e.Flags&storage.Rejected != 0 && e.Flags&storage.Presumed == 0 {
			continue
		}
		if !e.IsState() {
			return fmt.Errorf("importing %s: %s in its state is no state event", r.RoomID, e.ID)
		}
		state.Set(storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}, entryOf(e))
	}
	byNID := make(map[int64]*storage.Event, len(events))
	for _, e := range events {
		byNID[e.NID] = e
	}
	// The changes are made current by the join, the next event that is added.
	before := state.Map()
	if err := b.replaceState(before, byNID, len(b.change.Events)); err != nil {
		return err
	}
	b.setPartial(r.Partial, len(notInTimeline(r.Join.PrevEventIDs(), known)) == 0)
	join := fromPDU(r.Join)
	join.Flags = storage.Relayed
	if err := b.append(join, r.Join); err != nil {
		return err
	}
	return b.addGap(join, before, r.Join, known)
}

// setPartial notes whether members are left out of the room's state. If they were before,
// and nothing has been missed since, the state before the earlier join is what is lacking.
func (b *builder) setPartial(told *storage.Partial, missedNothing bool) {
	p := storage.Partial{Done: true}
	before := b.head.row.Partial
	switch {
	case told == nil && !b.head.row.IsPartial():
		return
	case told == nil:
		p.JoinID, p.Via = before.JoinID, before.Via
	case b.head.row.IsPartial() && missedNothing:
		p = *before
		p.Servers = slices.Compact(slices.Sorted(slices.Values(slices.Concat(before.Servers, told.Servers))))
	default:
		p = *told
	}
	b.head.row.Partial, b.change.PartialChanged = &p, true
}

// addOutlier adds an event without a place in the timeline, unless it is known.
func (b *builder) addOutlier(pdu gomatrixserverlib.PDU, known, events map[string]*storage.Event) error {
	id := pdu.EventID()
	if events[id] != nil {
		return nil
	}
	if e := known[id]; e != nil {
		events[id] = e
		return nil
	}
	e := fromPDU(pdu)
	var err error
	if e.NID, err = b.s.db.NextNID(b.ctx); err != nil {
		return err
	}
	e.RoomNID, e.Flags = b.head.row.NID, storage.Outlier
	b.change.Events = append(b.change.Events, e)
	events[id] = e
	b.s.events.Set(e.NID, e)
	return nil
}

// replaceState makes another state the room's, as of the change's event with the
// given index. events holds what may be new in it.
func (b *builder) replaceState(state storage.StateMap, events map[int64]*storage.Event, at int) error {
	if err := b.changeState(state, events, at); err != nil {
		return err
	}
	if err := b.snapshot(state, nidsOf(state)); err != nil {
		return err
	}
	return b.summariseAnew(events)
}

// changeState notes what is different in another state.
func (b *builder) changeState(state storage.StateMap, events map[int64]*storage.Event, at int) error {
	old := b.head.state
	for it := state.Iterator(); !it.Done(); {
		t, entry, _ := it.Next()
		if before, ok := old.Get(t); ok && before.EventNID == entry.EventNID {
			continue
		}
		b.change.State = append(b.change.State, storage.StateChange{StateTuple: t, StateEntry: entry, Event: at})
		if t.Type != "m.room.member" {
			continue
		}
		e, err := b.eventIn(events, entry.EventNID)
		if err != nil {
			return err
		}
		b.addMembership(e, entry)
	}
	for it := old.Iterator(); !it.Done(); {
		t, before, _ := it.Next()
		if _, ok := state.Get(t); ok {
			continue
		}
		b.change.State = append(b.change.State, storage.StateChange{StateTuple: t, Event: at})
		if t.Type == "m.room.member" && before.Membership != "leave" {
			e, err := b.eventIn(events, before.EventNID)
			if err != nil {
				return err
			}
			before.Membership = "leave"
			b.addMembership(e, before)
		}
	}
	return nil
}

// eventIn returns an event that may be new.
func (b *builder) eventIn(events map[int64]*storage.Event, nid int64) (*storage.Event, error) {
	if e := events[nid]; e != nil {
		return e, nil
	}
	return b.s.event(b.ctx, nid)
}

// snapshot makes a whole state the room's newest snapshot.
func (b *builder) snapshot(state storage.StateMap, nids []int64) error {
	nid, err := b.wholeSnapshot(nids)
	if err != nil {
		return err
	}
	b.head.state = state
	b.head.row.SnapshotNID = nid
	b.head.chain = snapshotChain{list: []storage.Snapshot{b.change.Snapshots[len(b.change.Snapshots)-1]}, superseded: map[int64]bool{}}
	return nil
}

// wholeSnapshot adds a snapshot that rests on no other.
func (b *builder) wholeSnapshot(nids []int64) (int64, error) {
	nid, err := b.s.db.NextNID(b.ctx)
	if err != nil {
		return 0, err
	}
	b.change.Snapshots = append(b.change.Snapshots, storage.Snapshot{NID: nid, Depth: 1, EventNIDs: nids})
	return nid, nil
}

// summariseAnew makes the room's directory entry from its whole state.
func (b *builder) summariseAnew(events map[int64]*storage.Event) error {
	b.head.summary = storage.RoomSummary{}
	b.summaryChanged = true
	for it := b.head.state.Iterator(); !it.Done(); {
		t, entry, _ := it.Next()
		if t.Type == "m.room.member" {
			b.head.summary.JoinedMembers += count(entry.Membership, "join")
			b.head.summary.InvitedMembers += count(entry.Membership, "invite")
			continue
		}
		if t.StateKey != "" {
			continue
		}
		e, err := b.eventIn(events, entry.EventNID)
		if err != nil {
			return err
		}
		b.summarise(e, "", "")
	}
	return nil
}
