package clientapi

import (
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/push"
	"hearth/storage"
)

// registerThreadSubscriptions adds what users say of which threads they want to hear of.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4306
func (a *API) registerThreadSubscriptions(s *httpapi.Server) {
	const one = "/rooms/{roomId}/thread/{eventId}/subscription"
	s.Register([]string{"/_matrix/client/unstable/io.element.msc4306"}, []httpapi.Route{
		{Method: "GET", Path: one, Handle: a.getThreadSubscription},
		{Method: "PUT", Path: one, Rate: httpapi.RateMessage, Handle: a.putThreadSubscription},
		{Method: "DELETE", Path: one, Rate: httpapi.RateMessage, Handle: a.deleteThreadSubscription},
	})
	s.Register([]string{"/_matrix/client/unstable/io.element.msc4308"}, []httpapi.Route{
		{Method: "GET", Path: "/thread_subscriptions", Handle: a.getThreadSubscriptions},
	})
}

// getThreadSubscription is GET …/thread/{eventId}/subscription.
func (a *API) getThreadSubscription(r *http.Request, u *httpapi.Requester) (any, error) {
	h, root, err := a.eventIn(r, u, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	s, err := a.db.GetThreadSubscription(r.Context(), u.UserID, h.v.Room.NID, root.ID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !s.Subscribed {
		return nil, httpapi.NotFound("You don't subscribe to this thread")
	}
	if err != nil {
		return nil, err
	}
	return map[string]bool{"automatic": s.Automatic}, nil
}

// putThreadSubscription is PUT …/thread/{eventId}/subscription.
func (a *API) putThreadSubscription(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Automatic *string `json:"automatic"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	h, root, err := a.eventIn(r, u, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	var cause *storage.Event
	if body.Automatic != nil {
		if cause, err = h.visibleEvent(r.Context(), *body.Automatic); err != nil {
			return nil, err
		}
	}
	return nil, a.o.PushRules.Subscribe(r.Context(), storage.ThreadSubscription{UserID: u.UserID, RoomNID: h.v.Room.NID, RoomID: h.v.Room.ID, ThreadID: root.ID}, cause)
}

// deleteThreadSubscription is DELETE …/thread/{eventId}/subscription.
func (a *API) deleteThreadSubscription(r *http.Request, u *httpapi.Requester) (any, error) {
	h, root, err := a.eventIn(r, u, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	return nil, a.o.PushRules.Unsubscribe(r.Context(), storage.ThreadSubscription{UserID: u.UserID, RoomNID: h.v.Room.NID, RoomID: h.v.Room.ID, ThreadID: root.ID})
}

// maxThreadSubscriptions bounds a page of what changed of a user's subscriptions.
const maxThreadSubscriptions = 100

// getThreadSubscriptions is GET /thread_subscriptions: what changed, the last change first.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4308
func (a *API) getThreadSubscriptions(r *http.Request, u *httpapi.Requester) (any, error) {
	if dir := r.URL.Query().Get("dir"); dir != "b" {
		return nil, httpapi.InvalidParam("dir must be b")
	}
	from, err := gapParam(r, "from", newest)
	if err != nil {
		return nil, err
	}
	to, err := gapParam(r, "to", token.Gap{})
	if err != nil {
		return nil, err
	}
	n, err := httpapi.IntParam(r, "limit", maxThreadSubscriptions, 1)
	if err != nil {
		return nil, err
	}
	n = min(n, maxThreadSubscriptions)
	list, err := a.db.ThreadSubscriptions(r.Context(), u.UserID, to.After.Position, from.After.Position, n+1)
	if err != nil {
		return nil, err
	}
	answer := push.DescribeSubscriptions(list[:min(n, len(list))])
	if len(list) > n {
		answer.End = token.Gap{After: storage.Place{Position: list[n-1].Position}}.String()
	}
	return answer, nil
}
