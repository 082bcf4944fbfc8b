package clientapi

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// delayParam is the parameter that has PUT …/send and …/state send later.
const delayParam = "org.matrix.msc4140.delay"

// registerDelayed adds what manages delayed events. Managing one asks for no token,
// as its id can't be guessed: clients hand it to the service that carries their call.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4140
func (a *API) registerDelayed(s *httpapi.Server) {
	s.Register([]string{"/_matrix/client/unstable/org.matrix.msc4140"}, []httpapi.Route{
		{Method: "PUT", Path: "/rooms/{roomId}/delayed_event/{eventType}/{txnId}", Rate: httpapi.RateMessage, Handle: a.putDelayedEvent},
		{Method: "GET", Path: "/delayed_events", Handle: a.getDelayedEvents},
		{Method: "GET", Path: "/delayed_events/{delayId}", Handle: a.getDelayedEvent},
		{Method: "POST", Path: "/delayed_events/{delayId}", Auth: httpapi.AuthOptional, Handle: a.postDelayedEvent},
		{Method: "POST", Path: "/delayed_events/{delayId}/send", Auth: httpapi.AuthOptional, Handle: a.delayedAction("send")},
		{Method: "POST", Path: "/delayed_events/{delayId}/cancel", Auth: httpapi.AuthOptional, Handle: a.delayedAction("cancel")},
		{Method: "POST", Path: "/delayed_events/{delayId}/restart", Auth: httpapi.AuthOptional, Handle: a.delayedAction("restart")},
	})
}

// delayID is the answer of everything that schedules an event.
type delayID struct {
	DelayID string `json:"delay_id"`
}

// isDelayed reports whether the request asks for its event to be sent later.
func isDelayed(r *http.Request) bool {
	return strings.Contains(r.URL.RawQuery, delayParam) && r.URL.Query().Has(delayParam)
}

// delayOf reads isDelayed's delay.
func (a *API) delayOf(r *http.Request) (time.Duration, error) {
	ms, err := strconv.ParseInt(r.URL.Query().Get(delayParam), 10, 64)
	if err != nil || ms <= 0 {
		return 0, httpapi.InvalidParam("%s must be a positive number of milliseconds", delayParam)
	}
	if longest := a.o.Delayed.MaxDelay().Milliseconds(); ms > longest {
		return 0, tooLongDelay(http.StatusBadRequest, "M_UNKNOWN", longest)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// tooLongDelay refuses a delay, and tells which one would do.
func tooLongDelay(status int, code string, longest int64) error {
	e := httpapi.New(status, code, "An event can be delayed by at most %d ms", longest)
	e.Extra = map[string]any{"org.matrix.msc4140.errcode": "M_MAX_DELAY_EXCEEDED", "org.matrix.msc4140.max_delay": longest}
	return e
}

// delayedRequest names a request, so that it schedules nothing when it is repeated.
func delayedRequest(r *http.Request, u *httpapi.Requester) []byte {
	h := sha256.New()
	for _, part := range []string{u.UserID, u.DeviceID, httpapi.Var(r, "roomId"), httpapi.Var(r, "eventType"), httpapi.Var(r, "txnId")} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return h.Sum(nil)
}

// putSendDelayed is putSend for an event that is to be sent later.
func (a *API) putSendDelayed(r *http.Request, u *httpapi.Requester) (any, error) {
	request := delayedRequest(r, u)
	if id, err := a.o.Delayed.Earlier(r.Context(), request); id != "" || err != nil {
		return delayID{id}, err
	}
	if u.Suspended {
		return nil, httpapi.UserSuspended()
	}
	content, err := httpapi.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	return a.scheduleParam(r, u, storage.DelayedEvent{Request: request, Content: content})
}

// scheduleParam schedules what the path says after the delay that the query says.
func (a *API) scheduleParam(r *http.Request, u *httpapi.Requester, e storage.DelayedEvent) (any, error) {
	var err error
	if e.Delay, err = a.delayOf(r); err != nil {
		return nil, err
	}
	if e.StickyMS, err = stickyParam(r); err != nil {
		return nil, err
	}
	e.UserID, e.RoomID, e.Type = u.UserID, httpapi.Var(r, "roomId"), httpapi.Var(r, "eventType")
	id, err := a.o.Delayed.Schedule(r.Context(), e)
	return delayID{id}, err
}

// putDelayedEvent is PUT /rooms/{roomId}/delayed_event/{eventType}/{txnId}.
func (a *API) putDelayedEvent(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Delay    *int64          `json:"delay_ms"`
		StateKey *string         `json:"state_key"`
		Content  json.RawMessage `json:"content"`
	}
	request := delayedRequest(r, u)
	if id, err := a.o.Delayed.Earlier(r.Context(), request); id != "" || err != nil {
		return delayID{id}, err
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	sticky, err := stickyParam(r)
	if err != nil {
		return nil, err
	}
	longest := a.o.Delayed.MaxDelay().Milliseconds()
	switch {
	case body.Delay == nil || body.Content == nil:
		return nil, httpapi.MissingParam("delay_ms and content are needed")
	case *body.Delay <= 0:
		return nil, httpapi.InvalidParam("delay_ms must be a positive number of milliseconds")
	case *body.Delay > longest:
		return nil, tooLongDelay(http.StatusForbidden, "M_FORBIDDEN", longest)
	}
	if body.StateKey != nil {
		if err := a.checkState(r, u, *body.StateKey, body.Content); err != nil {
			return nil, err
		}
	}
	id, err := a.o.Delayed.Schedule(r.Context(), storage.DelayedEvent{
		Request: request, UserID: u.UserID, RoomID: httpapi.Var(r, "roomId"), Type: httpapi.Var(r, "eventType"),
		StateKey: body.StateKey, Content: body.Content, StickyMS: sticky, Delay: time.Duration(*body.Delay) * time.Millisecond,
	})
	return delayID{id}, err
}

// delayedAnswer is a delayed event as its sender is told of it. Clients know the delay
// and its beginning by two names each, of which the proposal has kept the first.
type delayedAnswer struct {
	DelayID      string          `json:"delay_id"`
	RoomID       string          `json:"room_id"`
	Type         string          `json:"type"`
	StateKey     *string         `json:"state_key,omitempty"`
	DelayMS      int64           `json:"delay_ms"`
	Delay        int64           `json:"delay"`
	ScheduledAt  int64           `json:"scheduled_at"`
	RunningSince int64           `json:"running_since"`
	Content      json.RawMessage `json:"content"`
	EventID      string          `json:"event_id,omitempty"`
	Error        json.RawMessage `json:"error,omitempty"`
	FinalisedTS  int64           `json:"finalised_ts,omitempty"`
}

func describeDelayed(e *storage.DelayedEvent) delayedAnswer {
	delay, since := e.Delay.Milliseconds(), e.ScheduledAt.UnixMilli()
	answer := delayedAnswer{
		DelayID: e.ID, RoomID: e.RoomID, Type: e.Type, StateKey: e.StateKey, DelayMS: delay, Delay: delay,
		ScheduledAt: since, RunningSince: since, Content: e.Content, EventID: e.EventID, Error: e.Error,
	}
	if !e.FinalisedAt.IsZero() {
		answer.FinalisedTS = e.FinalisedAt.UnixMilli()
	}
	return answer
}

// getDelayedEvents is GET /delayed_events: what the user has scheduled.
func (a *API) getDelayedEvents(r *http.Request, u *httpapi.Requester) (any, error) {
	scheduled, err := a.o.Delayed.Scheduled(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	list := make([]delayedAnswer, 0, len(scheduled))
	for i := range scheduled {
		list = append(list, describeDelayed(&scheduled[i]))
	}
	return map[string]any{"delayed_events": list}, nil
}

// getDelayedEvent is GET /delayed_events/{delayId}.
func (a *API) getDelayedEvent(r *http.Request, u *httpapi.Requester) (any, error) {
	e, err := a.o.Delayed.Get(r.Context(), u.UserID, httpapi.Var(r, "delayId"))
	if err != nil {
		return nil, err
	}
	return describeDelayed(e), nil
}

// postDelayedEvent is POST /delayed_events/{delayId}, by which older clients name the
// action in the body.
func (a *API) postDelayedEvent(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Action string `json:"action"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	return a.delayedAction(body.Action)(r, u)
}

// delayedAction handles POST /delayed_events/{delayId}/{action}.
func (a *API) delayedAction(action string) func(*http.Request, *httpapi.Requester) (any, error) {
	return func(r *http.Request, u *httpapi.Requester) (any, error) {
		userID, id := "", httpapi.Var(r, "delayId")
		if u != nil {
			userID = u.UserID
		}
		switch action {
		case "send":
			return nil, a.o.Delayed.Send(r.Context(), userID, id)
		case "cancel":
			return nil, a.o.Delayed.Cancel(r.Context(), userID, id)
		case "restart":
			return nil, a.o.Delayed.Restart(r.Context(), userID, id)
		}
		return nil, httpapi.InvalidParam("action must be send, cancel or restart")
	}
}
