package roomserver

import (
	"context"
	"errors"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// UnknownEvents returns those of the events that aren't known of the room.
func (s *Server) UnknownEvents(ctx context.Context, v *View, ids []string) ([]string, error) {
	list, err := s.db.EventsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, e := range list {
		known[e.ID] = e.RoomNID == v.Room.NID
	}
	var unknown []string
	seen := map[string]bool{}
	for _, id := range ids {
		if !known[id] && !seen[id] {
			unknown = append(unknown, id)
			seen[id] = true
		}
	}
	return unknown, nil
}

// AddOutliers stores state events of another server's, whose signatures and hashes were
// checked, without a place in the timeline. Each is judged by the events that it names
// as its authority; one that names an unknown event is left out.
func (s *Server) AddOutliers(ctx context.Context, roomID string, pdus []gomatrixserverlib.PDU) error {
	if len(pdus) == 0 {
		return nil
	}
	err := s.change(ctx, roomID, func(b *builder) error {
		if err := b.flushed(); err != nil {
			return err
		}
		return b.addOutliers(pdus)
	})
	if errors.Is(err, errStale) {
		return httpapi.Unavailable(0, "The room's newest events can't be stored; try again")
	}
	return err
}

func (b *builder) addOutliers(pdus []gomatrixserverlib.PDU) error {
	var ids []string
	for _, pdu := range pdus {
		ids = append(append(ids, pdu.EventID()), pdu.AuthEventIDs()...)
	}
	known, err := b.knownOf(ids)
	if err != nil {
		return err
	}
	for _, pdu := range authoritiesFirst(pdus) {
		if known[pdu.EventID()] != nil || pdu.StateKey() == nil || checkNames(pdu) != nil || len(unknownOf(pdu.AuthEventIDs(), known)) > 0 {
			continue
		}
		e := fromPDU(pdu)
		if e.NID, err = b.s.db.NextNID(b.ctx); err != nil {
			return err
		}
		e.RoomNID, e.Flags = b.head.row.NID, storage.Outlier
		var refused *httpapi.Error
		if err := b.allowedByAuthEvents(pdu, known); errors.As(err, &refused) {
			e.Flags |= storage.Rejected
		} else if err != nil {
			return err
		}
		b.change.Events = append(b.change.Events, e)
		known[e.ID] = e
	}
	return nil
}

// knownOf reads those of the events that are known of the room.
func (b *builder) knownOf(ids []string) (map[string]*storage.Event, error) {
	list, err := b.s.db.EventsByID(b.ctx, ids)
	known := make(map[string]*storage.Event, len(list))
	for _, e := range list {
		if e.RoomNID == b.head.row.NID {
			known[e.ID] = e
		}
	}
	return known, err
}

func unknownOf(ids []string, known map[string]*storage.Event) (unknown []string) {
	for _, id := range ids {
		if known[id] == nil {
			unknown = append(unknown, id)
		}
	}
	return unknown
}

// authoritiesFirst sorts events so that each comes after those that it names as its
// authority. What names one another in a circle, as in the first room versions it may,
// is left out.
func authoritiesFirst(pdus []gomatrixserverlib.PDU) []gomatrixserverlib.PDU {
	byID := map[string]gomatrixserverlib.PDU{}
	waits := map[string]int{}
	waiting := map[string][]string{}
	for _, pdu := range pdus {
		byID[pdu.EventID()] = pdu
	}
	var ready, sorted []gomatrixserverlib.PDU
	for id, pdu := range byID {
		for _, auth := range pdu.AuthEventIDs() {
			if byID[auth] != nil {
				waits[id]++
				waiting[auth] = append(waiting[auth], id)
			}
		}
		if waits[id] == 0 {
			ready = append(ready, pdu)
		}
	}
	for len(ready) > 0 {
		pdu := ready[len(ready)-1]
		ready, sorted = ready[:len(ready)-1], append(sorted, pdu)
		for _, id := range waiting[pdu.EventID()] {
			if waits[id]--; waits[id] == 0 {
				ready = append(ready, byID[id])
			}
		}
	}
	return sorted
}
