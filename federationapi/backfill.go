package federationapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"time"

	"hearth/federationapi/client"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxBackfills bounds the gaps that are being filled at the same time.
	maxBackfills = 16
	// maxBackfillServers bounds the servers that are asked for one gap, and
	// backfillTime and backfillAnswerTime how long all of them and one may take.
	maxBackfillServers = 6
	backfillTime       = 30 * time.Second
	backfillAnswerTime = 10 * time.Second
	// maxOldest bounds the events of one answer before which the state is asked for.
	maxOldest = 5
	// maxBackfillFrom bounds the missing events that are asked for at once.
	maxBackfillFrom = 20
)

// Backfill asks the servers in a room for what is missing in its timeline before a
// gap, until one has something. It reports whether one had. Who asks while somebody else
// does waits for the same answer.
func (a *API) Backfill(ctx context.Context, v *roomserver.View, gap *storage.Gap) (bool, error) {
	if len(gap.Missing) == 0 {
		return false, nil
	}
	key := fmt.Sprint(gap.RoomNID, " ", gap.Position, " ", gap.Sub)
	done := a.backfilling.DoChan(key, func() (any, error) {
		// What has begun is finished even if nobody waits for it any more.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backfillTime)
		defer cancel()
		select {
		case a.backfills <- struct{}{}:
			defer func() { <-a.backfills }()
		case <-ctx.Done():
			return false, nil
		}
		return a.backfill(ctx, v, gap), nil
	})
	select {
	case r := <-done:
		return r.Val.(bool), nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (a *API) backfill(ctx context.Context, v *roomserver.View, gap *storage.Gap) bool {
	// What was missing may have come by another way.
	if past, err := a.rooms.FindPast(ctx, v, gap, nil); err == nil && past.Complete() {
		return a.rooms.AddPast(ctx, v, past, nil) == nil
	}
	for _, server := range a.backfillServers(ctx, v, gap) {
		found, err := a.backfillFrom(ctx, server, v, gap)
		if err != nil {
			a.log.Info("a server doesn't tell a room's past", "room", v.Room.ID, "server", server, "err", err)
		}
		if found {
			return true
		}
		if ctx.Err() != nil {
			break
		}
	}
	return false
}

// backfillServers are those to ask: that were in the room behind the gap and still are,
// those with most members first.
func (a *API) backfillServers(ctx context.Context, v *roomserver.View, gap *storage.Gap) []string {
	then, err := a.rooms.JoinedServersBefore(ctx, &storage.Event{RoomNID: gap.RoomNID, SnapshotNID: gap.SnapshotNID})
	if err != nil {
		a.log.Warn("the servers in a room can't be found", "room", v.Room.ID, "err", err)
	}
	now := a.rooms.JoinedServers(v)
	var servers []string
	for server := range now {
		if a.mayBeSent(server) {
			servers = append(servers, server)
		}
	}
	rank := func(server string) int {
		if then[server] > 0 {
			return 1<<30 + then[server]
		}
		return now[server]
	}
	sort.Slice(servers, func(i, j int) bool {
		x, y := rank(servers[i]), rank(servers[j])
		return x > y || x == y && servers[i] < servers[j]
	})
	return servers[:min(len(servers), maxBackfillServers)]
}

// backfillFrom asks one server, and stores what it has.
//
// https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
func (a *API) backfillFrom(ctx context.Context, server string, v *roomserver.View, gap *storage.Gap) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, backfillAnswerTime)
	defer cancel()
	query := url.Values{"v": gap.Missing[:min(len(gap.Missing), maxBackfillFrom)], "limit": {strconv.Itoa(maxBackfill)}}
	text, err := a.client.Do(ctx, client.Request{Method: http.MethodGet, Server: server,
		URI: client.Path("/_matrix/federation/v1/backfill", v.Room.ID) + "?" + query.Encode()})
	if err != nil {
		return false, err
	}
	var answer struct {
		PDUs []json.RawMessage `json:"pdus"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return false, badAnswer(server, "The past isn't a list of events: %v", err)
	}
	pdus := a.authentic(ctx, v, answer.PDUs[:min(len(answer.PDUs), 2*maxBackfill)])
	past, err := a.rooms.FindPast(ctx, v, gap, pdus)
	if err != nil || past.Len() == 0 {
		return false, err
	}
	told, err := a.toldStates(ctx, server, v, past)
	if err != nil {
		return false, err
	}
	if err := a.addUnknown(ctx, server, v, past.Unknown); err != nil {
		return false, err
	}
	if err := a.rooms.AddOutliers(ctx, v.Room.ID, past.State()); err != nil {
		return false, err
	}
	return true, a.rooms.AddPast(ctx, v, past, told)
}

// toldStates asks for the states before the oldest events.
func (a *API) toldStates(ctx context.Context, server string, v *roomserver.View, past *roomserver.Past) (map[string][]string, error) {
	told := map[string][]string{}
	for _, id := range past.Oldest[:min(len(past.Oldest), maxOldest)] {
		ids, err := a.fetchStateBefore(ctx, server, v, id)
		if err != nil {
			return nil, fmt.Errorf("asking for the state before %s: %w", id, err)
		}
		told[id] = ids
	}
	return told, nil
}
