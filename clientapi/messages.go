package clientapi

import (
	"math"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/storage"
)

// newest is after every event.
var newest = token.Gap{After: storage.Place{Position: math.MaxInt64 - 1}}

// gapParam reads a token from the query; missing stands for its absence.
func gapParam(r *http.Request, name string, missing token.Gap) (token.Gap, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return missing, nil
	}
	g, err := token.ParseGap(text)
	if err != nil {
		return g, httpapi.InvalidParam("%s is no token of this server's", name)
	}
	return g, nil
}

// getMessages answers GET /_matrix/client/v3/rooms/{roomId}/messages.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
func (a *API) getMessages(r *http.Request, u *httpapi.Requester) (any, error) {
	h, err := a.history(r, u)
	if err != nil {
		return nil, err
	}
	dir := r.URL.Query().Get("dir")
	if dir == "" {
		return nil, httpapi.MissingParam("dir is missing")
	}
	if dir != "b" && dir != "f" {
		return nil, httpapi.InvalidParam("dir must be b or f")
	}
	n, err := limit(r)
	if err != nil {
		return nil, err
	}
	live := token.Gap{After: storage.Place{Position: a.db.Stream.Position()}}
	var page messagesPage
	if dir == "b" {
		page, err = h.messagesBack(r, n, live)
	} else {
		page, err = h.messagesForth(r, n)
	}
	if err != nil {
		return nil, err
	}
	return h.messagesAnswer(r, page)
}

// messagesPage is a page of history between two gaps. There may be more after it.
type messagesPage struct {
	start, end token.Gap
	more       bool
	events     []*storage.Event
}

func (h *history) messagesBack(r *http.Request, n int, live token.Gap) (p messagesPage, err error) {
	if p.start, err = gapParam(r, "from", live); err != nil {
		return p, err
	}
	floor, err := gapParam(r, "to", token.Gap{})
	if err != nil {
		return p, err
	}
	var end storage.Place
	p.events, end, p.more, err = h.backwards(r.Context(), n, p.start.Next(), floor.After)
	p.end = token.Before(end)
	if last := len(p.events) - 1; last >= 0 && r.URL.Query().Get("filter") != "" && p.events[last].Type != "m.room.create" {
		// Whether that was the start isn't seen from what a filter leaves; clients ask once more.
		p.more = true
	}
	return p, err
}

func (h *history) messagesForth(r *http.Request, n int) (p messagesPage, err error) {
	if p.start, err = gapParam(r, "from", token.Gap{}); err != nil {
		return p, err
	}
	ceiling, err := gapParam(r, "to", newest)
	if err != nil {
		return p, err
	}
	var end storage.Place
	p.events, end, p.more, err = h.forwards(r.Context(), n, p.start.After, ceiling.After)
	p.end = token.After(end)
	p.more = p.more || len(p.events) > 0 // what is said next comes after them
	return p, err
}

func (h *history) messagesAnswer(r *http.Request, p messagesPage) (any, error) {
	b := append([]byte(`{"start":"`), p.start.String()...)
	if p.more {
		b = append(append(b, `","end":"`...), p.end.String()...)
	}
	b, err := h.append(r.Context(), append(b, `","chunk":`...), p.events)
	if err != nil {
		return nil, err
	}
	if h.filter.LazyLoadMembers {
		members, err := h.memberEvents(r.Context(), h.v.State, p.events)
		if err != nil {
			return nil, err
		}
		if b, err = h.append(r.Context(), append(b, `,"state":`...), members); err != nil {
			return nil, err
		}
	}
	return httpapi.Raw(append(b, '}')), nil
}
