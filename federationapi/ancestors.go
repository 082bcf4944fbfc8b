package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"golang.org/x/time/rate"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxMissingRounds bounds how often missing events are asked for before one, and
	// maxLatest from how many at once.
	maxMissingRounds = 10
	maxLatest        = 20
	// fullAnswer is how many events a server tells at least that has more of them.
	fullAnswer = 10
	// maxToldStates bounds the events for which the state before them is asked for, on
	// the way to one.
	maxToldStates = 5
	// maxStateServers bounds the servers that are asked for a state.
	maxStateServers = 3
	// maxGapsAnHour bounds the events of a room that are taken in without what they come
	// after: each costs asking for a state, keeping it, and a gap in the timeline. Those
	// beyond come with later events, if they are of any worth. maxGapRooms bounds the rooms
	// for which that is counted.
	maxGapsAnHour = 100
	maxGapRooms   = 10_000
)

// mayLeaveGap reports whether one more gap may come about in a room's timeline.
func (a *API) mayLeaveGap(roomID string) bool {
	limit, known := a.gaps.Get(roomID)
	if !known {
		limit = rate.NewLimiter(rate.Every(time.Hour/maxGapsAnHour), maxGapsAnHour)
		if other, met, _ := a.gaps.PeekOrAdd(roomID, limit); met {
			limit = other
		}
	}
	return limit.Allow()
}

// takeWithAncestors takes in an event, after what it comes after as far as the server
// that sent it tells. Where there is more, the room's state is taken over from it. A server
// that has nothing to tell of what its event comes after isn't believed to have it.
//
// https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
func (a *API) takeWithAncestors(ctx context.Context, origin string, pdu gomatrixserverlib.PDU) error {
	err := a.takeAuthorised(ctx, origin, pdu)
	var missing *roomserver.MissingEventsError
	if !errors.As(err, &missing) || len(missing.Prev) == 0 {
		return err
	}
	v, err := a.rooms.View(ctx, pdu.RoomID().String())
	if err != nil {
		return err
	}
	before, fetchErr := a.fetchMissing(ctx, origin, v, pdu)
	if isOwnTrouble(fetchErr) {
		return fetchErr
	}
	if fetchErr != nil {
		a.log.Info("a server doesn't tell what an event comes after", "origin", origin, "event", pdu.EventID(), "err", fetchErr)
	}
	if fetchErr == nil && len(before) == 0 {
		// What was missing may have come from elsewhere meanwhile. If it hasn't, the server
		// isn't trusted with the state there either.
		return a.takeAuthorised(ctx, origin, pdu)
	}
	told := 0
	for _, earlier := range before {
		err := a.takeTold(ctx, origin, v, earlier, &told)
		if isOwnTrouble(err) {
			return err
		}
		if err != nil {
			a.log.Debug("a missing event wasn't taken in", "event", earlier.EventID(), "err", err)
		}
	}
	return a.takeTold(ctx, origin, v, pdu, &told)
}

// takeAuthorised takes in an event, after what authorises it.
func (a *API) takeAuthorised(ctx context.Context, origin string, pdu gomatrixserverlib.PDU) error {
	err := a.rooms.Receive(ctx, pdu)
	var missing *roomserver.MissingEventsError
	if !errors.As(err, &missing) || len(missing.Auth) == 0 {
		return err
	}
	v, viewErr := a.rooms.View(ctx, pdu.RoomID().String())
	if viewErr != nil {
		return viewErr
	}
	if err := a.addUnknown(ctx, origin, v, missing.Auth); err != nil {
		return err
	}
	return a.rooms.Receive(ctx, pdu)
}

// takeTold takes in an event. If it comes after unknown ones, the state before it is
// asked for.
func (a *API) takeTold(ctx context.Context, origin string, v *roomserver.View, pdu gomatrixserverlib.PDU, told *int) error {
	err := a.takeAuthorised(ctx, origin, pdu)
	var missing *roomserver.MissingEventsError
	if !errors.As(err, &missing) || len(missing.Prev) == 0 || *told == maxToldStates {
		return err
	}
	if !a.mayLeaveGap(v.Room.ID) {
		return httpapi.LimitExceeded(time.Hour / maxGapsAnHour)
	}
	*told++
	servers := []string{origin}
	for _, server := range a.biggestServers(v) {
		if server != origin && a.mayBeSent(server) && len(servers) < maxStateServers {
			servers = append(servers, server)
		}
	}
	for _, server := range servers {
		states, stateErr := a.fetchStatesFor(ctx, server, v, pdu.EventID(), missing.Prev)
		if isOwnTrouble(stateErr) {
			return stateErr
		}
		if stateErr != nil {
			err = errors.Join(err, fmt.Errorf("asking for the state before it: %w", stateErr))
			continue
		}
		return a.rooms.ReceiveTold(ctx, pdu, states)
	}
	return err
}

// fetchStatesFor asks a server for the states after the events that an event comes after and
// that aren't known or, if they are many or it doesn't know these, for that before the event.
func (a *API) fetchStatesFor(ctx context.Context, server string, v *roomserver.View, eventID string, prevs []string) ([]roomserver.Told, error) {
	var list []roomserver.Told
	var refused *client.RemoteError
	for _, prev := range prevs {
		if len(prevs) > maxToldStates {
			break
		}
		told, err := a.fetchStateAfter(ctx, server, v, prev)
		if errors.As(err, &refused) {
			break
		}
		if err != nil {
			return nil, err
		}
		list = append(list, told)
	}
	if len(list) == len(prevs) {
		return list, nil
	}
	state, err := a.fetchStateBefore(ctx, server, v, eventID)
	return []roomserver.Told{{State: state}}, err
}

// fetchMissing asks for the events between those that are known and an event, and
// returns what it gets, the oldest first.
func (a *API) fetchMissing(ctx context.Context, origin string, v *roomserver.View, pdu gomatrixserverlib.PDU) ([]gomatrixserverlib.PDU, error) {
	start := &storage.Gap{RoomNID: v.Room.NID, Missing: pdu.PrevEventIDs()}
	latest := []string{pdu.EventID()}
	var all []gomatrixserverlib.PDU
	var found []gomatrixserverlib.PDU
	for range maxMissingRounds {
		var answer struct {
			Events []json.RawMessage `json:"events"`
		}
		err := a.client.Post(ctx, origin, client.Path("/_matrix/federation/v1/get_missing_events", v.Room.ID), map[string]any{
			"earliest_events": v.Room.ForwardExtremities[:min(len(v.Room.ForwardExtremities), maxLatest)],
			"latest_events":   latest, "limit": maxMissing}, &answer)
		if err != nil {
			return found, err
		}
		all = append(all, a.authentic(ctx, v, answer.Events[:min(len(answer.Events), maxMissing)])...)
		past, err := a.rooms.FindPast(ctx, v, start, all)
		if err != nil {
			return found, err
		}
		progress := past.Len() > len(found)
		found = past.Events()
		if past.Complete() || !progress || len(answer.Events) < fullAnswer {
			break
		}
		latest = past.Oldest[:min(len(past.Oldest), maxLatest)]
	}
	return found, nil
}
