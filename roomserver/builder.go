package roomserver

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/canonicaljson"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// builder collects one change to a room, working on a copy of the room's head.
type builder struct {
	ctx    context.Context
	s      *Server
	rm     *room
	head   head
	change storage.RoomChange
	pdus   map[int64]pduRef
	// built: the change has events that were built here.
	built bool
	// summaryChanged asks for a new directory entry.
	summaryChanged bool
	// deviceLists are changes of devices to be announced with the change.
	deviceLists []storage.DeviceListChange
}

// pduRef is a parsed state event that the change added.
type pduRef struct {
	tuple storage.StateTuple
	pdu   gomatrixserverlib.PDU
}

// newEvent is what an event says; the builder adds its place in the graph.
type newEvent struct {
	Sender   string
	Type     string
	StateKey *string
	Content  []byte
	Redacts  string // room versions up to 10
	TS       time.Time
	TxnKey   [16]byte
	TxnID    string
	DeviceID string
	// StickyMS, if not nil, is for how many milliseconds the event is sticky.
	StickyMS *int64
}

// add builds, authorises and signs an event on top of the change so far.
func (b *builder) add(n newEvent) (*storage.Event, error) {
	if n.TS.IsZero() {
		n.TS = time.Now()
	}
	if strictJSON(b.rm.version) {
		var err error
		if n.Content, err = canonicaljson.Append(nil, n.Content); err != nil {
			return nil, httpapi.BadJSON("The event's content is %v", err)
		}
	}
	if n.Type == "m.room.create" && b.head.state.Len() > 0 {
		return nil, httpapi.InvalidParam("The room has been created already")
	}
	b.built = true
	if b.isPlain(&n) {
		return b.addPlain(n)
	}
	proto := &gomatrixserverlib.ProtoEvent{
		SenderID: n.Sender, RoomID: b.head.row.ID, Type: n.Type, StateKey: n.StateKey,
		PrevEvents: b.newest(), Depth: nextDepth(b.rm.version, b.head.row.Depth),
		Content: n.Content, Redacts: n.Redacts, Version: b.rm.version,
	}
	auth, err := b.authEvents(proto)
	if err != nil {
		return nil, err
	}
	if err := b.setAuthEvents(proto, auth); err != nil {
		return nil, err
	}
	pdu, err := b.s.buildPDU(b.rm.version, proto, n.TS)
	if err == nil && n.StickyMS != nil {
		pdu, err = b.s.stick(b.rm.version, pdu, *n.StickyMS)
	}
	if err != nil {
		return nil, err
	}
	if err := authorise(pdu, auth); err != nil {
		return nil, err
	}
	e := fromPDU(pdu)
	e.TxnKey, e.TxnID, e.TxnDevice = n.TxnKey, n.TxnID, n.DeviceID
	return e, b.append(e, pdu)
}

// nextDepth is the depth of an event that comes after one of a depth. Anybody may have
// said that a room is as deep as a number goes; there it stays.
//
// https://spec.matrix.org/v1.19/rooms/v12/#event-format
func nextDepth(v gomatrixserverlib.IRoomVersion, depth int64) int64 {
	deepest := int64(math.MaxInt64)
	if strictJSON(v) {
		deepest = 1<<53 - 1
	}
	if depth >= deepest {
		return deepest
	}
	return depth + 1
}

// newest are the room's ends that a new event comes after. Where there are more than an
// event may name, the others wait for the next.
func (b *builder) newest() []string {
	ends := b.head.row.ForwardExtremities
	return ends[:min(len(ends), maxPrevEvents)]
}

// append puts an authorised event at the end of the timeline.
func (b *builder) append(e *storage.Event, pdu gomatrixserverlib.PDU) error {
	if err := b.number(e); err != nil {
		return err
	}
	e.RoomNID, e.SnapshotNID = b.head.row.NID, b.head.row.SnapshotNID
	if b.head.row.IsPartial() {
		e.Flags |= storage.Presumed
	}
	b.change.Events = append(b.change.Events, e)
	b.notify(e)
	if e.IsState() {
		if err := b.setState(e, pdu); err != nil {
			return err
		}
	}
	b.head.row.ForwardExtremities = append([]string{e.ID}, b.head.row.ForwardExtremities[len(b.newest()):]...)
	b.head.row.Depth = e.Depth
	b.s.events.Set(e.NID, e)
	return nil
}

// setState makes a state event current.
func (b *builder) setState(e *storage.Event, pdu gomatrixserverlib.PDU) error {
	old, _ := b.head.state.Get(tupleOf(e))
	e.ReplacesNID = old.EventNID
	b.pdus[e.NID] = pduRef{tupleOf(e), pdu}
	return b.makeCurrent(e, old, len(b.change.Events)-1)
}

// makeCurrent has an event take the place of old in the room's state, as of the change's
// event with the given index.
func (b *builder) makeCurrent(e *storage.Event, old storage.StateEntry, at int) error {
	entry := entryOf(e)
	if e.Type == "m.room.member" {
		b.addMembership(e, entry)
	}
	snapshot, err := b.s.db.NextNID(b.ctx)
	if err != nil {
		return err
	}
	var row storage.Snapshot
	b.head.chain, row = b.head.chain.with(snapshot, e.NID, old.EventNID)
	b.change.Snapshots = append(b.change.Snapshots, row)
	b.head.row.SnapshotNID = snapshot
	b.head.state = b.head.state.Set(tupleOf(e), entry)
	b.change.State = append(b.change.State, storage.StateChange{StateTuple: tupleOf(e), StateEntry: entry, Event: at})
	b.summarise(e, old.Membership, entry.Membership)
	return nil
}

// entryOf is the event as a piece of state.
func entryOf(e *storage.Event) storage.StateEntry {
	entry := storage.StateEntry{EventNID: e.NID, EventID: e.ID}
	if e.Type == "m.room.member" {
		entry.Membership = membershipOf(e)
	}
	return entry
}

// addMembership has a member event, the given piece of state, be the user's newest.
func (b *builder) addMembership(e *storage.Event, entry storage.StateEntry) {
	left := entry.Membership == "leave" || entry.Membership == "ban"
	b.change.Memberships = append(b.change.Memberships, storage.Membership{
		RoomNID: e.RoomNID, RoomID: b.head.row.ID, UserID: *e.StateKey, Sender: e.Sender,
		Membership: entry.Membership, EventNID: e.NID,
		Forgotten: left && b.s.o.ForgetOnLeave && userid.IsLocal(*e.StateKey, b.s.o.ServerName),
	})
}

// finish closes the change.
func (b *builder) finish() (*storage.Change, error) {
	version, err := b.s.db.NIDAbove(b.ctx, b.head.row.Version)
	if err != nil {
		return nil, err
	}
	b.change.ExpectedVersion, b.head.row.Version = b.head.row.Version, version
	b.change.Room = b.head.row
	b.change.StateAfter = b.head.state
	if b.summaryChanged {
		summary := b.head.summary
		b.change.Summary = &summary
	}
	return &storage.Change{Room: &b.change, DeviceLists: b.deviceLists}, nil
}

// authEvents collects the state that decides whether an event is allowed.
func (b *builder) authEvents(p *gomatrixserverlib.ProtoEvent) (*gomatrixserverlib.AuthEvents, error) {
	auth, err := gomatrixserverlib.NewAuthEvents(nil)
	if err != nil {
		return nil, fmt.Errorf("collecting auth events: %w", err)
	}
	for _, t := range authorities(b.rm.version, p.Type, p.SenderID, p.StateKey, p.Content) {
		pdu, err := b.statePDU(t)
		if err != nil {
			return nil, err
		}
		if pdu != nil {
			if err := auth.AddEvent(pdu); err != nil {
				return nil, fmt.Errorf("collecting auth events: %w", err)
			}
		}
	}
	return auth, nil
}

// setAuthEvents names the auth events in the event. From room version 12 on the
// create event is implied by the room id.
func (b *builder) setAuthEvents(p *gomatrixserverlib.ProtoEvent, auth *gomatrixserverlib.AuthEvents) error {
	eb := b.rm.version.NewEventBuilderFromProtoEvent(p)
	if err := eb.AddAuthEvents(auth); err != nil {
		return notAllowed(err)
	}
	p.AuthEvents = eb.AuthEvents
	return nil
}

// statePDU returns the parsed event that holds a piece of state, nil if none does.
func (b *builder) statePDU(t storage.StateTuple) (gomatrixserverlib.PDU, error) {
	entry, ok := b.head.state.Get(t)
	if !ok {
		return nil, nil
	}
	if ref, ok := b.pdus[entry.EventNID]; ok {
		return ref.pdu, nil
	}
	if pdu, ok := b.rm.pdus[entry.EventNID]; ok {
		return pdu, nil
	}
	e, err := b.s.event(b.ctx, entry.EventNID)
	if err != nil {
		return nil, err
	}
	return b.parsed(e)
}

// parsed is a stored state event, parsed, which others are likely to need as well.
func (b *builder) parsed(e *storage.Event) (gomatrixserverlib.PDU, error) {
	if pdu, ok := b.rm.pdus[e.NID]; ok {
		return pdu, nil
	}
	pdu, err := pduOf(b.rm.version, e)
	if err == nil && e.NID != 0 {
		b.rm.keepPDU(e.NID, pduRef{tupleOf(e), pdu})
	}
	return pdu, err
}

// stateContent returns the content of a piece of state with an empty key, nil if there
// is none.
func (b *builder) stateContent(eventType string) (json.RawMessage, error) {
	pdu, err := b.statePDU(storage.StateTuple{Type: eventType})
	if err != nil || pdu == nil {
		return nil, err
	}
	return pdu.Content(), nil
}

// maxPDUs bounds the parsed events a room keeps.
const maxPDUs = 128

// keepPDU remembers a parsed state event for the next one that needs it.
func (rm *room) keepPDU(nid int64, ref pduRef) {
	if len(rm.pdus) >= maxPDUs {
		clear(rm.pdus)
	}
	rm.pdus[nid] = ref.pdu
}
