package federationapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"hearth/internal/httpapi"
	"hearth/roomserver"
)

func (a *API) historyRoutes() []httpapi.Route {
	return []httpapi.Route{
		a.signed("GET", "/backfill/{roomId}", a.getBackfill),
		a.signed("POST", "/get_missing_events/{roomId}", a.postMissingEvents),
		a.signed("GET", "/timestamp_to_event/{roomId}", a.getTimestampToEvent),
	}
}

const (
	// maxBackfill and maxMissing bound the events of one answer, maxStarts those to
	// begin from.
	maxBackfill = 100
	maxMissing  = 50
	maxStarts   = 100
	// missingLimit is how many missing events are answered to who asks for no number.
	missingLimit = 10
)

// getBackfill is GET /backfill/{roomId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
func (a *API) getBackfill(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	from := r.URL.Query()["v"]
	if len(from) == 0 {
		return nil, httpapi.MissingParam("v is missing: the events to go back from")
	}
	if len(from) > maxStarts {
		return nil, httpapi.InvalidParam("There are more than %d events to go back from", maxStarts)
	}
	limit, err := strconv.Atoi(one(r, "limit"))
	if err != nil || limit < 0 {
		return nil, httpapi.InvalidParam("limit must be a number and not negative")
	}
	rm, err := a.room(r.Context(), origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	events, err := a.rooms.Ancestors(r.Context(), rm.View, roomserver.Walk{From: from, Limit: min(limit, maxBackfill)})
	if err != nil {
		return nil, err
	}
	b, err := a.appendPDUs(a.appendOrigin(nil), rm, events)
	return httpapi.Raw(append(b, '}')), err
}

// postMissingEvents is POST /get_missing_events/{roomId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
func (a *API) postMissingEvents(r *http.Request, origin string, body json.RawMessage) (any, error) {
	var q struct {
		Earliest []string `json:"earliest_events"`
		Latest   []string `json:"latest_events"`
		Limit    *int     `json:"limit"`
		MinDepth int64    `json:"min_depth"`
	}
	if err := decode(body, &q); err != nil {
		return nil, err
	}
	if q.Earliest == nil || q.Latest == nil {
		return nil, httpapi.MissingParam("earliest_events and latest_events must both be there")
	}
	if len(q.Earliest) > maxStarts || len(q.Latest) > maxStarts {
		return nil, httpapi.InvalidParam("There are more than %d earliest or latest events", maxStarts)
	}
	limit := missingLimit
	if q.Limit != nil {
		limit = min(max(*q.Limit, 0), maxMissing)
	}
	rm, err := a.room(r.Context(), origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	stop := map[string]bool{}
	for _, id := range q.Earliest {
		stop[id] = true
	}
	events, err := a.rooms.Ancestors(r.Context(), rm.View, roomserver.Walk{
		From: q.Latest, Exclusive: true, Stop: stop, MinDepth: q.MinDepth, Limit: limit})
	if err != nil {
		return nil, err
	}
	slices.Reverse(events) // parents come before their children
	b, err := a.appendPDUs([]byte(`{"events":`), rm, events)
	return httpapi.Raw(append(b, '}')), err
}

// decode decodes the body of a signed request, which mustn't be empty.
func decode(body json.RawMessage, v any) error {
	if body == nil {
		return httpapi.NotJSON("The body is missing")
	}
	return httpapi.Unmarshal(body, v)
}

// getTimestampToEvent is GET /timestamp_to_event/{roomId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
func (a *API) getTimestampToEvent(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	ts, err := strconv.ParseInt(one(r, "ts"), 10, 64)
	if err != nil {
		return nil, httpapi.InvalidParam("ts must be a number of milliseconds")
	}
	dir := one(r, "dir")
	if dir != "f" && dir != "b" {
		return nil, httpapi.InvalidParam("dir must be f or b")
	}
	rm, err := a.room(r.Context(), origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	e, err := a.rooms.EventNear(r.Context(), rm.View, ts, dir == "f", rm.canSee)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, httpapi.NotFound("There is no such event in the room")
	}
	return map[string]any{"event_id": e.ID, "origin_server_ts": e.OriginTS}, nil
}
