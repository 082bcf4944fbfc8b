package roomserver

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// Authorised returns those of the events of a room, by id, that the rules allow by the
// events which they name as their authority; these must be among them, or known here.
// Signatures and hashes must have been checked.
func (s *Server) Authorised(ctx context.Context, version gomatrixserverlib.RoomVersion, pdus []gomatrixserverlib.PDU) (map[string]gomatrixserverlib.PDU, error) {
	v, err := gomatrixserverlib.GetRoomVersion(version)
	if err != nil {
		return nil, fmt.Errorf("judging events of a room: %w", err)
	}
	known, err := s.otherAuthorities(ctx, v, pdus)
	if err != nil {
		return nil, err
	}
	c := &importCheck{byID: make(map[string]gomatrixserverlib.PDU, len(pdus)), version: v}
	for _, pdu := range pdus {
		c.byID[pdu.EventID()] = pdu
		if pdu.Type() == "m.room.create" && pdu.StateKeyEquals("") {
			c.create = pdu
		}
	}
	for id, pdu := range known {
		c.byID[id] = pdu
	}
	sorted := authoritiesFirst(pdus)
	allowed := make([]bool, len(sorted))
	var all sync.WaitGroup
	for part := range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := part; i < len(sorted); i += runtime.GOMAXPROCS(0) {
				allowed[i] = checkPDU(sorted[i]) == nil && c.check(sorted[i]) == nil
			}
		})
	}
	all.Wait()
	found := known
next:
	for i, pdu := range sorted {
		for _, id := range pdu.AuthEventIDs() {
			if found[id] == nil {
				continue next
			}
		}
		if allowed[i] {
			found[pdu.EventID()] = pdu
		}
	}
	return found, nil
}

// otherAuthorities are events that others name as their authority, aren't among them, and
// are known from a former stay in the room.
func (s *Server) otherAuthorities(ctx context.Context, v gomatrixserverlib.IRoomVersion, pdus []gomatrixserverlib.PDU) (map[string]gomatrixserverlib.PDU, error) {
	known := make(map[string]gomatrixserverlib.PDU, len(pdus))
	if len(pdus) == 0 {
		return known, nil
	}
	here := map[string]bool{}
	for _, pdu := range pdus {
		here[pdu.EventID()] = true
	}
	var missing []string
	for _, pdu := range pdus {
		for _, id := range pdu.AuthEventIDs() {
			if !here[id] {
				here[id] = true
				missing = append(missing, id)
			}
		}
	}
	list, err := s.db.EventsByID(ctx, missing)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if e.RoomID != pdus[0].RoomID().String() || e.Flags&storage.Rejected != 0 {
			continue
		}
		if known[e.ID], err = pduOf(v, e); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// importCheck applies the rules to events that aren't stored.
type importCheck struct {
	version gomatrixserverlib.IRoomVersion
	byID    map[string]gomatrixserverlib.PDU
	create  gomatrixserverlib.PDU
}

func (c *importCheck) check(pdu gomatrixserverlib.PDU) error {
	var auth []gomatrixserverlib.PDU
	var named []*storage.Event
	for _, id := range pdu.AuthEventIDs() {
		a := c.byID[id]
		if a == nil {
			return httpapi.Forbidden("It is authorised by %s, which is missing", id)
		}
		auth = append(auth, a)
		named = append(named, &storage.Event{ID: id, Type: a.Type(), StateKey: a.StateKey()})
	}
	if err := rightAuthorities(c.version, pdu, named); err != nil {
		return err
	}
	if c.version.DomainlessRoomIDs() && c.create != nil && pdu.Type() != "m.room.create" {
		auth = append(auth, c.create) // whom nobody names
	}
	return Authorise(pdu, auth)
}

// AllowedIn applies the rules to an event with a state of its room. Of members that this
// lacks, those count that the event names.
func AllowedIn(pdu gomatrixserverlib.PDU, state []gomatrixserverlib.PDU, byID map[string]gomatrixserverlib.PDU) error {
	current := make(map[storage.StateTuple]gomatrixserverlib.PDU, len(state))
	for _, id := range pdu.AuthEventIDs() {
		if a := byID[id]; a != nil && a.Type() == "m.room.member" && a.StateKey() != nil {
			current[storage.StateTuple{Type: a.Type(), StateKey: *a.StateKey()}] = a
		}
	}
	for _, s := range state {
		if s.StateKey() != nil {
			current[storage.StateTuple{Type: s.Type(), StateKey: *s.StateKey()}] = s
		}
	}
	v, err := gomatrixserverlib.GetRoomVersion(pdu.Version())
	if err != nil {
		return fmt.Errorf("judging an event: %w", err)
	}
	var auth []gomatrixserverlib.PDU
	for _, t := range authoritiesOf(pdu, v) {
		if a := current[t]; a != nil {
			auth = append(auth, a)
		}
	}
	return Authorise(pdu, auth)
}
