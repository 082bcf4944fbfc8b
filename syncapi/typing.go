package syncapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
)

const (
	// defaultTyping and maxTyping are how long somebody is shown as typing.
	defaultTyping, maxTyping = 30 * time.Second, 2 * time.Minute
	// maxTypers bounds who types in a room at once; more are not shown.
	maxTypers = 500
)

// joinedView returns the room in the path, which the user must have joined.
func (a *API) joinedView(r *http.Request, userID string) (*roomserver.View, error) {
	v, err := a.rooms.View(r.Context(), httpapi.Var(r, "roomId"))
	if errors.Is(err, roomserver.ErrUnknownRoom) || err == nil && v.Membership(userID) != "join" {
		return nil, httpapi.Forbidden("You aren't in this room")
	}
	return v, err
}

// putTyping answers PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
func (a *API) putTyping(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Typing  *bool  `json:"typing"`
		Timeout *int64 `json:"timeout"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Typing == nil {
		return nil, httpapi.MissingParam("typing is missing")
	}
	if httpapi.Var(r, "userId") != u.UserID {
		return nil, httpapi.Forbidden("You can't type for somebody else")
	}
	v, err := a.joinedView(r, u.UserID)
	if err != nil {
		return nil, err
	}
	until := time.Time{}
	if *body.Typing {
		d := defaultTyping
		if body.Timeout != nil {
			d = min(max(time.Duration(*body.Timeout)*time.Millisecond, time.Second), maxTyping)
		}
		until = time.Now().Add(d)
	}
	a.hub.setTyping(v.Room.NID, v.Room.ID, u.UserID, until)
	if a.o.OnTyping != nil {
		a.o.OnTyping(r.Context(), v.Room.ID, u.UserID, *body.Typing)
	}
	return nil, nil
}

// ShowTyping shows until when a user of another server types; the zero time ends it.
func (a *API) ShowTyping(roomNID int64, roomID, userID string, until time.Time) {
	a.hub.setTyping(roomNID, roomID, userID, until)
}

// setTyping notes until when somebody types; the zero time ends it. Somebody may begin to
// sync the room meanwhile.
func (h *hub) setTyping(nid int64, roomID, userID string, until time.Time) {
	h.mu.Lock()
	defer h.poke()
	defer h.mu.Unlock()
	r := h.rooms[nid]
	if r == nil && until.IsZero() {
		return
	}
	if r == nil {
		r = h.addRoom(nid, roomID)
	}
	_, typed := r.typing[userID]
	if until.IsZero() {
		delete(r.typing, userID)
	} else if typed || len(r.typing) < maxTypers {
		r.typing[userID] = until
		time.AfterFunc(time.Until(until)+10*time.Millisecond, func() { h.expireTyping(nid, userID) })
	}
	if _, types := r.typing[userID]; types != typed {
		h.typingChanged(r)
	}
}

func (h *hub) expireTyping(nid int64, userID string) {
	h.mu.Lock()
	defer h.poke()
	defer h.mu.Unlock()
	r := h.rooms[nid]
	if r == nil {
		return
	}
	if until, ok := r.typing[userID]; ok && !until.After(time.Now()) {
		delete(r.typing, userID)
		h.typingChanged(r)
		if h.o.OnTyping != nil && userid.IsLocal(userID, h.o.ServerName) {
			go h.o.OnTyping(context.Background(), r.id, userID, false)
		}
	}
}

// typingChanged tells who watches the room. The hub's lock is held.
func (h *hub) typingChanged(r *room) {
	r.typingSerial = h.typingSerial.Add(1)
	for u := range r.watchers {
		u.typing.Store(r.typingSerial)
		h.queueWake(u)
	}
}
