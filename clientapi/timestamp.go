package clientapi

import (
	"net/http"
	"strconv"

	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) timestampRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: "/rooms/{roomId}/timestamp_to_event", Handle: a.getTimestampToEvent}}
}

// getTimestampToEvent answers GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
func (a *API) getTimestampToEvent(r *http.Request, u *httpapi.Requester) (any, error) {
	q := r.URL.Query()
	if !q.Has("ts") || !q.Has("dir") {
		return nil, httpapi.MissingParam("ts and dir must both be there")
	}
	ts, err := strconv.ParseInt(q.Get("ts"), 10, 64)
	if err != nil {
		return nil, httpapi.InvalidParam("ts must be a number of milliseconds")
	}
	dir := q.Get("dir")
	if dir != "f" && dir != "b" {
		return nil, httpapi.InvalidParam("dir must be f or b")
	}
	h, err := a.history(r, u)
	if err != nil {
		return nil, err
	}
	e, err := a.rooms.EventNear(r.Context(), h.v, ts, dir == "f", func(e *storage.Event) bool { return e.Accepted() && h.vis.CanSee(e) })
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, httpapi.NotFound("There is no such event in the room that you may see")
	}
	return map[string]any{"event_id": e.ID, "origin_server_ts": e.OriginTS}, nil
}
