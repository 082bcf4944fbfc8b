package clientapi

import (
	"context"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/storage"
)

// getContext answers GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
func (a *API) getContext(r *http.Request, u *httpapi.Requester) (any, error) {
	n, err := limit(r)
	if err != nil {
		return nil, err
	}
	h, err := a.history(r, u)
	if err != nil {
		return nil, err
	}
	e, err := h.visibleEvent(r.Context(), httpapi.Var(r, "eventId"))
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	// With nothing asked for, start and end still anchor the client's pagination.
	start, end, last := token.Before(e.Place), token.After(e.Place), e
	var before, after []*storage.Event
	if n/2 > 0 {
		var place storage.Place
		if before, place, _, err = h.backwards(ctx, n/2, e.Place, storage.Place{}); err != nil {
			return nil, err
		}
		start = token.Before(place)
	}
	if n-n/2 > 0 {
		var place storage.Place
		if after, place, _, err = h.forwards(ctx, n-n/2, e.Place, newest.After); err != nil {
			return nil, err
		}
		end = token.After(place)
	}
	if len(after) > 0 {
		last = after[len(after)-1]
	}
	state, err := h.stateFor(ctx, last, append(append([]*storage.Event{e}, before...), after...))
	if err != nil {
		return nil, err
	}
	return h.contextAnswer(ctx, start, end, e, before, after, state)
}

// stateFor returns the state after the last event shown: all of it or, for lazy
// loading, without the members who said nothing.
func (h *history) stateFor(ctx context.Context, last *storage.Event, shown []*storage.Event) ([]*storage.Event, error) {
	state, err := h.a.rooms.StateAfter(ctx, last)
	if err != nil {
		return nil, err
	}
	if !h.filter.LazyLoadMembers {
		return h.a.stateEvents(ctx, state, nil)
	}
	events, err := h.a.stateEvents(ctx, state, func(t storage.StateTuple, _ storage.StateEntry) bool {
		return t.Type != "m.room.member"
	})
	if err != nil {
		return nil, err
	}
	members, err := h.memberEvents(ctx, state, shown)
	return append(events, members...), err
}

func (h *history) contextAnswer(ctx context.Context, start, end token.Gap, e *storage.Event, before, after, state []*storage.Event) (any, error) {
	b := append([]byte(`{"start":"`), start.String()...)
	b = append(append(b, `","end":"`...), end.String()...)
	b = append(b, '"')
	for _, part := range []struct {
		name   string
		events []*storage.Event
	}{{"events_before", before}, {"events_after", after}, {"state", state}} {
		b = append(append(append(b, `,"`...), part.name...), `":`...)
		var err error
		if b, err = h.append(ctx, b, part.events); err != nil {
			return nil, err
		}
	}
	event, err := h.append(ctx, nil, []*storage.Event{e})
	if err != nil {
		return nil, err
	}
	b = append(append(b, `,"event":`...), event[1:len(event)-1]...)
	return httpapi.Raw(append(b, '}')), nil
}
