package clientapi

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"

	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/storage"
)

func (a *API) relationRoutes() []httpapi.Route {
	const relations = "/rooms/{roomId}/relations/{eventId}"
	return []httpapi.Route{
		{Method: "GET", Path: relations, Handle: a.getRelations},
		{Method: "GET", Path: relations + "/{relType}", Handle: a.getRelations},
		{Method: "GET", Path: relations + "/{relType}/{eventType}", Handle: a.getRelations},
		{Method: "GET", Path: "/rooms/{roomId}/threads", Handle: a.getThreads},
	}
}

// maxRecursion is over how many relations a recursive search goes.
const maxRecursion = 3

// getRelations answers GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}, …/{relType} and
// …/{relType}/{eventType}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid
func (a *API) getRelations(r *http.Request, u *httpapi.Requester) (any, error) {
	v := r.URL.Query()
	q := storage.RelatedQuery{RelType: httpapi.Var(r, "relType"), EventType: httpapi.Var(r, "eventType"), Depth: 1, Backwards: true}
	switch v.Get("dir") {
	case "", "b":
	case "f":
		q.Backwards = false
	default:
		return nil, httpapi.InvalidParam("dir must be b or f")
	}
	switch recurse(v) {
	case "", "false":
	case "true":
		q.Depth = maxRecursion
	default:
		return nil, httpapi.InvalidParam("recurse must be true or false")
	}
	n, err := limit(r)
	if err != nil {
		return nil, err
	}
	h, err := a.history(r, u)
	if err != nil {
		return nil, err
	}
	parent, err := h.visibleEvent(r.Context(), httpapi.Var(r, "eventId"))
	if err != nil {
		return nil, err
	}
	q.RoomNID, q.ParentID = h.v.Room.NID, parent.ID
	page, err := h.related(r, q, max(n, 1))
	if err != nil {
		return nil, err
	}
	return h.relatedAnswer(r, q, page)
}

// recurse is whether the client wants what relates indirectly, "" if it doesn't say.
func recurse(v url.Values) string {
	return cmp.Or(v.Get("recurse"), v.Get("org.matrix.msc3981.recurse")) // matrix-js-sdk uses the second
}

// related reads a page of what relates to an event.
func (h *history) related(r *http.Request, q storage.RelatedQuery, n int) (p messagesPage, err error) {
	missing, last := newest, token.Gap{}
	if !q.Backwards {
		missing, last = last, missing
	}
	if p.start, err = gapParam(r, "from", missing); err != nil {
		return p, err
	}
	if last, err = gapParam(r, "to", last); err != nil {
		return p, err
	}
	ctx := r.Context()
	var end storage.Place
	if q.Backwards {
		p.events, end, p.more, err = h.page(n, p.start.Next(), func(from storage.Place, n int) ([]*storage.Event, error) {
			return h.a.db.RelatedEvents(ctx, q, last.After, from, n)
		})
		p.end = token.Before(end)
	} else {
		p.events, end, p.more, err = h.page(n, p.start.After, func(from storage.Place, n int) ([]*storage.Event, error) {
			return h.a.db.RelatedEvents(ctx, q, from, last.Next(), n)
		})
		p.end = token.After(end)
	}
	return p, err
}

func (h *history) relatedAnswer(r *http.Request, q storage.RelatedQuery, p messagesPage) (any, error) {
	b, err := h.append(r.Context(), []byte(`{"chunk":`), p.events)
	if err != nil {
		return nil, err
	}
	if p.more {
		b = append(append(append(b, `,"next_batch":"`...), p.end.String()...), '"')
	}
	if r.URL.Query().Get("from") != "" {
		b = append(append(append(b, `,"prev_batch":"`...), p.start.String()...), '"')
	}
	if recurse(r.URL.Query()) != "" {
		b = strconv.AppendInt(append(b, `,"recursion_depth":`...), int64(q.Depth), 10)
	}
	return httpapi.Raw(append(b, '}')), nil
}

// getThreads answers GET /_matrix/client/v1/rooms/{roomId}/threads.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads
func (a *API) getThreads(r *http.Request, u *httpapi.Requester) (any, error) {
	v := r.URL.Query()
	participant := ""
	switch v.Get("include") {
	case "", "all":
	case "participated":
		participant = u.UserID
	default:
		return nil, httpapi.InvalidParam("include must be all or participated")
	}
	from, err := gapParam(r, "from", newest)
	if err != nil {
		return nil, err
	}
	n, err := limit(r)
	if err != nil {
		return nil, err
	}
	h, err := a.history(r, u)
	if err != nil {
		return nil, err
	}
	roots, end, more, err := h.threads(r.Context(), participant, from.Next(), max(n, 1))
	if err != nil {
		return nil, err
	}
	b, err := h.append(r.Context(), []byte(`{"chunk":`), roots)
	if err != nil {
		return nil, err
	}
	if more {
		b = append(token.Before(end).Append(append(b, `,"next_batch":"`...)), '"')
	}
	return httpapi.Raw(append(b, '}')), nil
}

// threads reads the roots of up to n threads that the reader may see, and the place where it ended, if there may be
// more.
func (h *history) threads(ctx context.Context, participant string, before storage.Place, n int) (roots []*storage.Event, end storage.Place, more bool, err error) {
	for scanned := 0; scanned < maxScan && len(roots) < n; {
		ask := n - len(roots)
		list, err := h.a.db.Threads(ctx, h.v.Room.NID, participant, before, ask)
		if err != nil {
			return nil, before, false, err
		}
		ids := make([]string, len(list))
		for i, t := range list {
			ids[i], before = t.RootID, t.Latest
		}
		events, err := h.a.db.EventsInOrder(ctx, ids)
		if err != nil {
			return nil, before, false, err
		}
		for _, e := range events {
			if !e.Accepted() || !h.vis.CanSee(e) {
				continue
			}
			if h.ignored.hide(e) { // as if a client that leaves it out had put the thread together
				if e, err = h.a.rooms.RedactedEvent(h.v, e); err != nil {
					return nil, before, false, err
				}
			}
			roots = append(roots, e)
		}
		if len(list) < ask {
			return roots, before, false, nil
		}
		scanned += len(list)
	}
	return roots, before, true, nil
}
