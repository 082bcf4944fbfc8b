package federationapi

import (
	"context"
	"encoding/json"
	"runtime"
	"sync"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
)

const (
	// maxSingleEvents bounds the events that are asked for one by one, fetchWorkers how
	// many at the same time.
	maxSingleEvents = 500
	fetchWorkers    = 8
	// maxAuthRounds bounds how often the authorities of authorities are asked for.
	maxAuthRounds = 8
)

// parallel runs f for each of n things, on a number of goroutines.
func parallel(workers, n int, f func(i int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range min(workers, n) {
		all.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}

// authentic parses events of a room that another server gave, and keeps those of the
// room whose signatures and hashes are right.
func (a *API) authentic(ctx context.Context, v *roomserver.View, texts []json.RawMessage) []gomatrixserverlib.PDU {
	return a.authenticOf(ctx, gomatrixserverlib.RoomVersion(v.Room.RoomVersion), v.Room.ID, texts, nil)
}

// authenticOf is authentic for a room that isn't known yet, and with keys that were fetched
// before, unless they are nil.
func (a *API) authenticOf(ctx context.Context, version gomatrixserverlib.RoomVersion, roomID string, texts []json.RawMessage, keys gomatrixserverlib.JSONVerifier) []gomatrixserverlib.PDU {
	parsed, errs := make([]gomatrixserverlib.PDU, len(texts)), make([]error, len(texts))
	parallel(runtime.GOMAXPROCS(0), len(texts), func(i int) {
		if parsed[i], errs[i] = parseEvent(version, texts[i]); errs[i] == nil && parsed[i].RoomID().String() != roomID {
			errs[i] = httpapi.InvalidParam("The event is of another room")
		}
	})
	if err := a.verifyEvents(ctx, parsed, errs, keys); err != nil {
		a.log.Warn("events can't be verified", "room", roomID, "err", err)
		return nil
	}
	list := make([]gomatrixserverlib.PDU, 0, len(parsed))
	for i, pdu := range parsed {
		if errs[i] == nil {
			list = append(list, pdu)
		} else if pdu != nil {
			a.log.Debug("an event isn't authentic", "event", pdu.EventID(), "err", errs[i])
		}
	}
	return list
}

// fetchEvents asks a server for single events, and returns those it has that are
// authentic.
func (a *API) fetchEvents(ctx context.Context, server string, v *roomserver.View, ids []string) []gomatrixserverlib.PDU {
	ids = ids[:min(len(ids), maxSingleEvents)]
	texts := make([]json.RawMessage, len(ids))
	parallel(fetchWorkers, len(ids), func(i int) {
		var answer struct {
			PDUs []json.RawMessage `json:"pdus"`
		}
		err := a.client.Get(ctx, server, client.Path("/_matrix/federation/v1/event", ids[i]), &answer)
		if err == nil && len(answer.PDUs) == 1 {
			texts[i] = answer.PDUs[0]
		}
	})
	asked := map[string]bool{}
	for _, id := range ids {
		asked[id] = true
	}
	var found []gomatrixserverlib.PDU
	for _, pdu := range a.authentic(ctx, v, texts) {
		if asked[pdu.EventID()] {
			found = append(found, pdu)
		}
	}
	return found
}

// addUnknown asks for events that aren't known, and for what authorises them, and stores
// them without a place in the timeline.
func (a *API) addUnknown(ctx context.Context, server string, v *roomserver.View, unknown []string) error {
	var all []gomatrixserverlib.PDU
	asked := map[string]bool{}
	for range maxAuthRounds {
		if len(unknown) == 0 || len(all) > maxSingleEvents {
			break
		}
		for _, id := range unknown {
			asked[id] = true
		}
		found := a.fetchEvents(ctx, server, v, unknown)
		all = append(all, found...)
		var named []string
		for _, pdu := range found {
			for _, id := range pdu.AuthEventIDs() {
				if !asked[id] {
					named = append(named, id)
				}
			}
		}
		var err error
		if unknown, err = a.rooms.UnknownEvents(ctx, v, named); err != nil {
			return err
		}
	}
	return a.rooms.AddOutliers(ctx, v.Room.ID, all)
}
