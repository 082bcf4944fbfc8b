package clientapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

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
	e, err := h.near(r.Context(), ts, dir == "f")
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, httpapi.NotFound("There is no such event in the room that you may see")
	}
	return map[string]any{"event_id": e.ID, "origin_server_ts": e.OriginTS}, nil
}

const (
	// maxTimeFills bounds how often other servers are asked for more of the past on the way
	// back to a time, and maxTimeFill how long.
	maxTimeFills = 20
	maxTimeFill  = 20 * time.Second
)

// near returns the event that is closest to a time, nil for none. Where there may be a
// closer one in a gap of the timeline other servers are asked, and what is missing up to it
// is fetched.
func (h *history) near(ctx context.Context, ts int64, forward bool) (*storage.Event, error) {
	until := time.Now().Add(maxTimeFill)
	for round := 0; ; round++ {
		e, err := h.a.rooms.EventNear(ctx, h.v, ts, forward, func(e *storage.Event) bool { return e.Accepted() && h.vis.CanSee(e) })
		if err != nil || h.local || h.a.o.Federation == nil || round == maxTimeFills || time.Now().After(until) {
			return e, err
		}
		gap, err := h.gapBeside(ctx, e, forward)
		if err != nil || gap == nil {
			return e, err
		}
		if round == 0 {
			other, found := h.a.o.Federation.TimeNear(ctx, h.v, gap, ts, forward)
			if !found || e != nil && (forward && other >= e.OriginTS || !forward && other <= e.OriginTS) {
				return e, ctx.Err()
			}
		}
		if filled, err := h.fill(ctx, gap, 0); err != nil || !filled {
			return e, err
		}
	}
}

// gapBeside is the gap that the event, the closest to a time, is next to on the side where a
// closer one may be. Without any event it is the oldest gap, before all that is from later.
func (h *history) gapBeside(ctx context.Context, e *storage.Event, forward bool) (*storage.Gap, error) {
	var place storage.Place
	if e != nil {
		place = e.Place
	} else if forward {
		return nil, nil // all that happened lately is here
	}
	if forward {
		gap, err := h.a.rooms.GapBefore(ctx, h.v, place, storage.Place{})
		if gap != nil && gap.Place != place {
			return nil, err
		}
		return gap, err
	}
	next, err := h.a.db.TimelineAfter(ctx, h.v.Room.NID, place, newest.After, 1)
	if err != nil || len(next) == 0 {
		return nil, err
	}
	gap, err := h.a.rooms.GapAfter(ctx, h.v, place, next[0].Place)
	return gap, err
}
