package clientapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// roomRoutes are those of rooms; what is asked for most comes first.
func (a *API) roomRoutes() []httpapi.Route {
	return slices.Concat(a.sendRoutes(), a.stateRoutes(), a.historyRoutes(), a.memberRoutes(), a.membershipRoutes(),
		a.createRoomRoutes(), a.upgradeRoutes(), a.reportRoutes(), a.aliasRoutes(), a.directoryRoutes())
}

// view returns the room in the request's path. A room that this server doesn't
// know is refused like one that the user isn't in.
func (a *API) view(r *http.Request) (*roomserver.View, error) {
	v, err := a.rooms.View(r.Context(), httpapi.Var(r, "roomId"))
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, notInRoom()
	}
	return v, err
}

func notInRoom() error { return httpapi.Forbidden("You aren't in this room") }

// readable returns the room in the path and the state of it that the user may
// read.
func (a *API) readable(r *http.Request, userID string) (*roomserver.View, storage.StateMap, error) {
	v, err := a.view(r)
	if err != nil {
		return nil, nil, err
	}
	state, err := a.rooms.ReadableState(r.Context(), v, userID)
	if err == nil && state == nil {
		err = notInRoom()
	}
	return v, state, err
}

// readableWhole is readable for what takes all members: it waits until they are known.
func (a *API) readableWhole(r *http.Request, userID string) (*roomserver.View, storage.StateMap, error) {
	v, state, err := a.readable(r, userID)
	if err != nil || !a.rooms.LacksMembers(v) {
		return v, state, err
	}
	if err := a.rooms.WaitForMembers(r.Context(), v.Room.ID); err != nil {
		return nil, nil, err
	}
	return a.readable(r, userID)
}

// reader is who the answer to a request is rendered for.
func reader(u *httpapi.Requester) roomserver.Reader {
	return roomserver.Reader{UserID: u.UserID, DeviceID: u.DeviceID, WithRoomID: true, Now: time.Now().UnixMilli()}
}

// appendEvents appends the events as a JSON array. vis, if not nil, tells the
// reader's membership at each, and whether what relates to them is shown too.
func (a *API) appendEvents(ctx context.Context, b []byte, events []*storage.Event, vis *roomserver.Visibility, to roomserver.Reader) ([]byte, error) {
	related, err := a.rooms.Related(ctx, events)
	if err != nil {
		return nil, err
	}
	if vis != nil && vis.MayBundle() {
		if to.Bundles, err = a.rooms.Bundle(ctx, events, to.UserID, vis.CanSee); err != nil {
			return nil, err
		}
	}
	size := 0
	for _, e := range events {
		size += len(e.JSON)
	}
	b = slices.Grow(b, size)
	b = append(b, '[')
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		if vis != nil {
			to.Membership = vis.MembershipAt(e.Place)
		}
		b = roomserver.AppendClientEvent(b, e, related, to)
	}
	return append(b, ']'), nil
}

// stateEvents returns the events of the pieces of state that want selects, in no
// order.
func (a *API) stateEvents(ctx context.Context, state storage.StateMap, want func(storage.StateTuple, storage.StateEntry) bool) ([]*storage.Event, error) {
	var nids []int64
	for it := state.Iterator(); !it.Done(); {
		t, e, _ := it.Next()
		if want == nil || want(t, e) {
			nids = append(nids, e.EventNID)
		}
	}
	return a.rooms.EventList(ctx, nids)
}

// splitID splits a room alias or user id into what stands before and after the
// colon.
func splitID(id string, sigil byte) (local, domain string, ok bool) {
	if len(id) < 2 || id[0] != sigil || len(id) > 255 {
		return "", "", false
	}
	local, domain, ok = strings.Cut(id[1:], ":")
	return local, domain, ok && local != "" && domain != "" && isText(id)
}
