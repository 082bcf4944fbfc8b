package syncapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxEvents bounds the events of one answer of /events.
	maxEvents = 100
	// maxPeekers bounds the requests that wait for what happens in rooms whose users
	// aren't in them; who comes later is answered at once.
	maxPeekers = 1000
)

// eventStream is one GET /events.
type eventStream struct {
	api       *API
	requester *httpapi.Requester
	u         *user
	peeked    *roomserver.View // the room to look into; nil for all that the user is in
	from      storage.Position
	timeout   time.Duration
}

// getEvents answers GET /_matrix/client/v3/events, of all rooms that the user is in or,
// with room_id, of one that may be looked into.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
func (a *API) getEvents(r *http.Request, requester *httpapi.Requester) (any, error) {
	v := r.URL.Query()
	s := &eventStream{api: a, requester: requester, from: a.hub.now()}
	var err error
	if s.timeout, err = timeoutOf(v); err != nil {
		return nil, err
	}
	if text := v.Get("from"); text != "" {
		from, err := token.ParseGap(text)
		if err != nil || from.After.Position > s.from {
			return nil, httpapi.InvalidParam("from is no token of this server's")
		}
		s.from = from.After.Position
	}
	if s.u, err = a.user(r.Context(), requester.UserID); err != nil {
		return nil, err
	}
	roomID := v.Get("room_id")
	if roomID == "" {
		return s.answer(r.Context())
	}
	refused := httpapi.Forbidden("You aren't in this room, and it may not be looked into")
	if s.peeked, err = a.rooms.View(r.Context(), roomID); errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	vis, err := a.rooms.Visibility(r.Context(), s.peeked, requester.UserID)
	if err != nil {
		return nil, err
	}
	if s.peeked.Membership(requester.UserID) != "join" && !vis.MayPeek() {
		return nil, refused
	}
	return s.answer(r.Context())
}

// answer waits until something happens, or for the timeout.
func (s *eventStream) answer(ctx context.Context) (any, error) {
	w := s.u.wait()
	defer s.u.release(w)
	until := time.Now().Add(s.timeout)
	if s.peeked != nil {
		if room := s.peeked.Room.NID; s.api.hub.peek(room, w) {
			defer s.api.hub.endPeek(room, w)
		} else {
			until = time.Now()
		}
	}
	start := s.from
	for {
		events, visible, err := s.look(ctx)
		if err != nil {
			return nil, err
		}
		left := time.Until(until)
		if len(events) > 0 || left <= 0 {
			return s.write(ctx, start, events, visible)
		}
		closing, err := s.api.pause(ctx, w, left, nil)
		if err != nil {
			return nil, err
		}
		if closing {
			until = time.Now()
		}
	}
}

// look reads what happened since it was last called, and moves from on.
func (s *eventStream) look(ctx context.Context) ([]*storage.Event, map[int64]*roomserver.Visibility, error) {
	h := s.api.hub
	var rooms []int64
	h.mu.RLock()
	now := h.position
	for nid, m := range s.u.memberships {
		if s.peeked == nil && (m.Membership == "join" || m.Position > s.from) {
			rooms = append(rooms, nid)
		}
	}
	h.mu.RUnlock()
	if s.peeked != nil {
		rooms = []int64{s.peeked.Room.NID}
	}
	events, err := s.api.db.EventsAfter(ctx, rooms, s.from, now, maxEvents)
	if err != nil || len(events) == 0 {
		s.from = now
		return nil, nil, err
	}
	if s.from = now; len(events) == maxEvents {
		s.from = events[maxEvents-1].Position
	}
	visible, err := s.visible(ctx, events)
	if err != nil {
		return nil, nil, err
	}
	var shown []*storage.Event
	for _, e := range events {
		if visible[e.RoomNID].CanSee(e) {
			shown = append(shown, e)
		}
	}
	return shown, visible, nil
}

// visible is what the user may see of the events' rooms.
func (s *eventStream) visible(ctx context.Context, events []*storage.Event) (map[int64]*roomserver.Visibility, error) {
	seen := map[int64]bool{}
	var views []*roomserver.View
	for _, e := range events {
		if seen[e.RoomNID] {
			continue
		}
		seen[e.RoomNID] = true
		v, err := s.api.rooms.View(ctx, e.RoomID)
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return s.api.rooms.Visibilities(ctx, views, s.requester.UserID)
}

func (s *eventStream) write(ctx context.Context, start storage.Position, events []*storage.Event, visible map[int64]*roomserver.Visibility) (any, error) {
	related, err := s.api.rooms.Related(ctx, events)
	if err != nil {
		return nil, err
	}
	gap := func(p storage.Position) string { return token.SyncAt(p, 0).String() }
	b := append([]byte(`{"start":"`), gap(start)...)
	b = append(append(b, `","end":"`...), gap(s.from)...)
	b = append(b, `","chunk":[`...)
	to := roomserver.Reader{UserID: s.requester.UserID, DeviceID: s.requester.DeviceID, WithRoomID: true, Now: time.Now().UnixMilli()}
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		to.Membership = visible[e.RoomNID].MembershipAt(e.Place)
		b = roomserver.AppendClientEvent(b, e, related, to)
	}
	return httpapi.Raw(append(b, "]}"...)), nil
}

// peekers are requests that wait for what happens in rooms whose users aren't in them.
type peekers struct {
	byRoom map[int64]map[*waiter]struct{}
	count  int
}

// peek has a waiter be woken by what happens in a room; it reports false if too many
// wait already.
func (h *hub) peek(room int64, w *waiter) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.peekers.count >= maxPeekers {
		return false
	}
	if h.peekers.byRoom[room] == nil {
		h.peekers.byRoom[room] = map[*waiter]struct{}{}
	}
	h.peekers.byRoom[room][w] = struct{}{}
	h.peekers.count++
	return true
}

func (h *hub) endPeek(room int64, w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.peekers.byRoom[room], w)
	if len(h.peekers.byRoom[room]) == 0 {
		delete(h.peekers.byRoom, room)
	}
	h.peekers.count--
}

// wakePeekers wakes those who look into the room.
func (h *hub) wakePeekers(room int64) {
	for w := range h.peekers.byRoom[room] {
		select {
		case w.woken <- struct{}{}:
		default:
		}
	}
}
