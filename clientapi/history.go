package clientapi

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"

	"hearth/internal/filter"
	"hearth/internal/httpapi"
	"hearth/push"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) historyRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/rooms/{roomId}/messages", Handle: a.getMessages},
		{Method: "GET", Path: "/rooms/{roomId}/event/{eventId}", Handle: a.getEvent},
		{Method: "GET", Path: "/rooms/{roomId}/context/{eventId}", Handle: a.getContext},
	}
}

const (
	// defaultPage and maxPage are how many events a page of history has.
	defaultPage = 10
	maxPage     = 1000
	// maxScan bounds the events that are read for one page, so that a filter that
	// matches next to nothing doesn't read a whole room at once.
	maxScan = 5000
)

// history is one reader's view of a room's past.
type history struct {
	a      *API
	v      *roomserver.View
	vis    *roomserver.Visibility
	filter *filter.RoomEvents
	to     roomserver.Reader
	// ignored are those whom the reader doesn't want to hear.
	ignored ignoredUsers
	// local is whether only this server is asked, for answers about many rooms.
	local bool
}

// history opens the past of the room in the path: for who is or was in it, and
// for everyone where the room is world-readable. What they may see of it is
// decided event by event.
func (a *API) history(r *http.Request, u *httpapi.Requester) (*history, error) {
	v, err := a.view(r)
	if err != nil {
		return nil, err
	}
	vis, err := a.rooms.Remembered(r.Context(), v, u.UserID)
	if err != nil {
		return nil, err
	}
	if v.Membership(u.UserID) != "join" && !vis.MayPeek() && !vis.WasIn() {
		return nil, notInRoom()
	}
	f, err := filter.ParseRoomEvents(r.URL.Query().Get("filter"))
	if err != nil {
		return nil, httpapi.BadJSON("The filter is invalid: %v", err)
	}
	ignored, err := a.ignored(r.Context(), u.UserID)
	return &history{a: a, v: v, vis: vis, filter: f, to: reader(u), ignored: ignored}, err
}

// ignoredUsers are those whom a reader doesn't want to hear.
type ignoredUsers map[string]bool

// hide reports whether the reader isn't shown the event because of its sender: of these they
// hear nothing but what they make of the room's state.
//
// https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
func (i ignoredUsers) hide(e *storage.Event) bool { return i[e.Sender] && !e.IsState() }

// ignored are those whom the user ignores.
func (a *API) ignored(ctx context.Context, userID string) (ignoredUsers, error) {
	list, err := push.Ignored(ctx, a.db, userID)
	ignored := make(ignoredUsers, len(list))
	for _, id := range list {
		ignored[id] = true
	}
	return ignored, err
}

// limit reads a page's size.
func limit(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, httpapi.InvalidParam("limit must be a number that isn't negative")
	}
	return min(n, maxPage), nil
}

// page reads up to n events that the reader may see and the filter lets pass,
// from read, which returns the next events after a place. It returns the place
// where reading ended and whether there is more.
func (h *history) page(n int, from storage.Place, read func(from storage.Place, n int) ([]*storage.Event, error)) (events []*storage.Event, end storage.Place, more bool, err error) {
	end = from
	if n == 0 {
		return nil, end, true, nil
	}
	for scanned := 0; scanned < maxScan; {
		ask := max(n-len(events), 1)
		if scanned > 0 {
			ask = max(ask, 100)
		}
		batch, err := read(end, ask)
		if err != nil {
			return nil, end, false, err
		}
		for i, e := range batch {
			end = e.Place
			if h.vis.CanSee(e) && h.filter.Matches(e) && !h.ignored.hide(e) {
				events = append(events, e)
			}
			if len(events) == n {
				return events, end, i+1 < len(batch) || len(batch) == ask, nil
			}
		}
		if len(batch) < ask {
			return events, end, false, nil
		}
		scanned += len(batch)
	}
	return events, end, true, nil
}

// backwards reads up to n events before a place. What is missing on the way is asked of
// other servers; what they don't have is passed over.
func (h *history) backwards(ctx context.Context, n int, before, floor storage.Place) (events []*storage.Event, end storage.Place, more bool, err error) {
	end = before
	for round := 0; ; round++ {
		gap, err := h.a.rooms.GapBefore(ctx, h.v, end, floor)
		if err != nil {
			return nil, end, false, err
		}
		near := floor
		if gap != nil { // up to it: the event at its place belongs to this side
			near = storage.Place{Position: gap.Position, Sub: gap.Sub - 1}
		}
		var part []*storage.Event
		part, end, more, err = h.page(n-len(events), end, func(from storage.Place, n int) ([]*storage.Event, error) {
			return h.a.db.TimelineBefore(ctx, h.v.Room.NID, from, near, n)
		})
		events = append(events, part...)
		if err != nil || more || gap == nil {
			return events, end, more, err
		}
		again, enough, err := h.atGap(ctx, gap, round, n, len(events))
		switch {
		case err != nil:
			return nil, end, false, err
		case enough:
			return events, end, true, nil
		case !again:
			end = storage.Place{Position: gap.Position, Sub: math.MinInt32 + 2} // which a token can name
		}
	}
}

// atGap is how a page of n events that has got some goes on where it comes to a gap: again,
// because that is smaller now, or with what there is, because it is enough or other servers
// may answer the next time. Otherwise the gap is passed over.
func (h *history) atGap(ctx context.Context, gap *storage.Gap, round, n, got int) (again, enough bool, err error) {
	if got == n {
		return false, true, nil
	}
	filled, err := h.fill(ctx, gap, round)
	return filled, !filled && got > 0, err
}

// maxFills bounds how often other servers are asked for one page.
const maxFills = 5

// fill asks other servers for what is missing before a gap, and reports whether there is
// more now.
func (h *history) fill(ctx context.Context, gap *storage.Gap, round int) (bool, error) {
	if h.local || h.a.o.Federation == nil || round >= maxFills || h.a.rooms.JoinedServers(h.v)[h.a.serverName] == 0 {
		return false, nil
	}
	filled, err := h.a.o.Federation.Backfill(ctx, h.v, gap)
	if err != nil || !filled {
		return false, err
	}
	h.vis, err = h.a.rooms.Remembered(ctx, h.v, h.to.UserID)
	return true, err
}

// forwards reads up to n events after a place. What is missing on the way is asked of
// other servers, as backwards does.
func (h *history) forwards(ctx context.Context, n int, after, ceiling storage.Place) (events []*storage.Event, end storage.Place, more bool, err error) {
	end = after
	passed := after // the gaps up to here are passed over
	for round := 0; ; round++ {
		gap, err := h.a.rooms.GapAfter(ctx, h.v, passed, ceiling)
		if err != nil {
			return nil, end, false, err
		}
		near := ceiling
		if gap != nil { // up to it: the event at its place is on the other side
			near = storage.Place{Position: gap.Position, Sub: gap.Sub - 1}
		}
		var part []*storage.Event
		part, end, more, err = h.page(n-len(events), end, func(from storage.Place, n int) ([]*storage.Event, error) {
			return h.a.db.TimelineAfter(ctx, h.v.Room.NID, from, near, n)
		})
		events = append(events, part...)
		if err != nil || more || gap == nil {
			return events, end, more, err
		}
		again, enough, err := h.atGap(ctx, gap, round, n, len(events))
		switch {
		case err != nil:
			return nil, end, false, err
		case enough:
			return events, end, true, nil
		case !again:
			passed = gap.Place
		}
	}
}

// events appends the events to an answer.
func (h *history) append(ctx context.Context, b []byte, events []*storage.Event) ([]byte, error) {
	return h.a.appendEvents(ctx, b, events, h.vis, h.to)
}

// memberEvents returns the member events in state of those who sent the events,
// as lazy loading wants them.
func (h *history) memberEvents(ctx context.Context, state storage.StateMap, events []*storage.Event) ([]*storage.Event, error) {
	senders := map[string]bool{}
	for _, e := range events {
		senders[e.Sender] = true
	}
	var nids []int64
	for sender := range senders {
		if entry, ok := state.Get(storage.StateTuple{Type: "m.room.member", StateKey: sender}); ok {
			nids = append(nids, entry.EventNID)
		}
	}
	return h.a.rooms.EventList(ctx, nids)
}

// maxFindFills bounds how often other servers are asked for an event.
const maxFindFills = 3

// find returns an event of the room. For a member, one that isn't in the timeline is
// looked for before its newest gap, with the help of other servers.
func (h *history) find(ctx context.Context, id string) (*storage.Event, error) {
	for round := 0; ; round++ {
		e, err := h.a.rooms.EventByID(ctx, h.v.Room.ID, id)
		if err == nil && e.Flags&storage.Outlier == 0 || err != nil && !errors.Is(err, storage.ErrNotFound) ||
			round == maxFindFills || h.v.Membership(h.to.UserID) != "join" {
			return e, err
		}
		gap, gapErr := h.a.rooms.GapBefore(ctx, h.v, newest.After, storage.Place{})
		if gapErr != nil || gap == nil {
			return e, errors.Join(err, gapErr)
		}
		if filled, fillErr := h.fill(ctx, gap, 0); fillErr != nil || !filled {
			return e, errors.Join(err, fillErr)
		}
	}
}

// visibleEvent returns an event, if the reader may see it.
func (h *history) visibleEvent(ctx context.Context, id string) (*storage.Event, error) {
	e, err := h.find(ctx, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && (!e.Accepted() || !h.vis.CanSee(e)) {
		return nil, httpapi.NotFound("There is no such event")
	}
	return e, err
}

// getEvent answers GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid
func (a *API) getEvent(r *http.Request, u *httpapi.Requester) (any, error) {
	return a.oneEvent(r, u, httpapi.Var(r, "roomId"))
}

// eventIn returns the event in the path, of a room, and the room's history for the user.
func (a *API) eventIn(r *http.Request, u *httpapi.Requester, roomID string) (*history, *storage.Event, error) {
	noEvent := httpapi.NotFound("There is no such event")
	v, err := a.rooms.View(r.Context(), roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, nil, noEvent
	}
	if err != nil {
		return nil, nil, err
	}
	vis, err := a.rooms.Remembered(r.Context(), v, u.UserID)
	if err != nil {
		return nil, nil, err
	}
	h := &history{a: a, v: v, vis: vis, to: reader(u)}
	e, err := h.visibleEvent(r.Context(), httpapi.Var(r, "eventId"))
	return h, e, err
}

// oneEvent answers with the event in the path, of a room.
func (a *API) oneEvent(r *http.Request, u *httpapi.Requester, roomID string) (any, error) {
	h, e, err := a.eventIn(r, u, roomID)
	if err != nil {
		return nil, err
	}
	b, err := h.append(r.Context(), nil, []*storage.Event{e})
	if err != nil {
		return nil, err
	}
	return httpapi.Raw(b[1 : len(b)-1]), nil
}
