package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"hearth/internal/filter"
	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/push"
	"hearth/roomserver"
	"hearth/storage"
)

// initialSyncRoutes are those of clients from before /sync, and of who peeks into rooms.
func (a *API) initialSyncRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/rooms/{roomId}/initialSync", Rate: httpapi.RateExpensive, Handle: a.getRoomInitialSync},
		{Method: "GET", Path: "/initialSync", Rate: httpapi.RateExpensive, Handle: a.getInitialSync},
		{Method: "GET", Path: "/events/{eventId}", Handle: a.getEventAnywhere},
	}
}

// maxInitialPresence bounds the people whose presence is told at once.
const maxInitialPresence = 1000

// snapshot is a room as it was told before there was /sync.
type snapshot struct {
	RoomID      string          `json:"room_id"`
	Membership  string          `json:"membership,omitempty"`
	Visibility  string          `json:"visibility,omitempty"`
	Invite      json.RawMessage `json:"invite,omitempty"`
	Messages    *snapshotPage   `json:"messages,omitempty"`
	State       json.RawMessage `json:"state,omitempty"`
	AccountData []accountEvent  `json:"account_data,omitempty"`
}

type snapshotPage struct {
	Start string          `json:"start"`
	End   string          `json:"end"`
	Chunk json.RawMessage `json:"chunk"`
}

type accountEvent struct {
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

// getRoomInitialSync answers GET /_matrix/client/v3/rooms/{roomId}/initialSync.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
func (a *API) getRoomInitialSync(r *http.Request, u *httpapi.Requester) (any, error) {
	n, err := limit(r)
	if err != nil {
		return nil, err
	}
	if _, _, err := a.readableWhole(r, u.UserID); err != nil {
		return nil, err
	}
	h, err := a.history(r, u)
	if err != nil {
		return nil, err
	}
	_, byRoom, err := a.accountEvents(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	return h.snapshot(r.Context(), n, a.db.Stream.Position(), byRoom[h.v.Room.ID])
}

// snapshot tells the room as of a position.
func (h *history) snapshot(ctx context.Context, n int, at storage.Position, data []accountEvent) (*snapshot, error) {
	s := &snapshot{RoomID: h.v.Room.ID, Membership: h.v.Membership(h.to.UserID), AccountData: data, Visibility: "private"}
	if s.Membership == "knock" {
		s.Membership = "" // those clients don't know of it
	}
	published, err := h.a.db.IsPublished(ctx, h.v.Room.NID)
	if err != nil {
		return nil, err
	}
	if published {
		s.Visibility = "public"
	}
	end := token.Gap{After: storage.Place{Position: at}}
	events, start, _, err := h.backwards(ctx, n, end.Next(), storage.Place{})
	if err != nil {
		return nil, err
	}
	slices.Reverse(events)
	s.Messages = &snapshotPage{Start: token.Before(start).String(), End: end.String()}
	if len(events) == 0 {
		s.Messages.Start = s.Messages.End
	}
	if s.Messages.Chunk, err = h.append(ctx, nil, events); err != nil {
		return nil, err
	}
	state, err := h.a.rooms.ReadableState(ctx, h.v, h.to.UserID)
	if err != nil || state == nil {
		return s, err
	}
	list, err := h.a.stateEvents(ctx, state, nil)
	if err != nil {
		return nil, err
	}
	s.State, err = h.a.appendEvents(ctx, nil, list, nil, h.to)
	return s, err
}

// accountEvents are the user's account data, that of rooms apart.
func (a *API) accountEvents(ctx context.Context, userID string) (global []accountEvent, byRoom map[string][]accountEvent, err error) {
	list, err := a.db.AccountDataSince(ctx, userID, 0)
	global, byRoom = []accountEvent{}, map[string][]accountEvent{}
	for _, d := range list {
		e := accountEvent{d.Type, d.Content}
		if d.RoomID == "" {
			global = append(global, e)
		} else {
			byRoom[d.RoomID] = append(byRoom[d.RoomID], e)
		}
	}
	return global, byRoom, err
}

// getInitialSync answers GET /_matrix/client/v3/initialSync. The rooms are written one
// by one: there may be thousands.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
func (a *API) getInitialSync(r *http.Request, u *httpapi.Requester) (any, error) {
	n, err := limit(r)
	if err != nil {
		return nil, err
	}
	archived, err := httpapi.BoolParam(r, "archived", false)
	if err != nil {
		return nil, err
	}
	ctx, at := r.Context(), a.db.Stream.Position()
	memberships, err := a.wantedMemberships(ctx, u.UserID)
	if err != nil {
		return nil, err
	}
	global, byRoom, err := a.accountEvents(ctx, u.UserID)
	if err != nil {
		return nil, err
	}
	presence, err := a.presenceEvents(ctx, u.UserID)
	if err != nil {
		return nil, err
	}
	return &httpapi.Reply{Header: http.Header{"Content-Type": {"application/json"}}, Status: http.StatusOK, Write: func(w http.ResponseWriter) error {
		out := json.NewEncoder(w)
		begin := []byte(`{"end":"` + token.SyncAt(at, 0).String() + `","rooms":[`)
		for _, m := range memberships {
			if m.Forgotten || m.Membership == "knock" || !archived && m.Membership != "join" && m.Membership != "invite" {
				continue
			}
			s, err := a.snapshotOf(ctx, reader(u), m, n, at, byRoom[m.RoomID])
			if err != nil {
				return err
			}
			if s == nil {
				continue
			}
			if _, err := w.Write(begin); err != nil {
				return err
			}
			begin = []byte(`,`)
			if err := out.Encode(s); err != nil {
				return err
			}
		}
		if len(begin) > 1 {
			if _, err := w.Write(begin); err != nil {
				return err
			}
		}
		for _, part := range []struct {
			before string
			value  any
		}{{`],"account_data":`, global}, {`,"presence":`, presence}} {
			if _, err := w.Write([]byte(part.before)); err != nil {
				return err
			}
			if err := out.Encode(part.value); err != nil {
				return err
			}
		}
		_, err := w.Write([]byte(`}`))
		return err
	}}, nil
}

// wantedMemberships are the user's memberships, but for invitations that they don't take.
func (a *API) wantedMemberships(ctx context.Context, userID string) ([]storage.Membership, error) {
	memberships, err := a.db.UserMemberships(ctx, userID)
	if err != nil {
		return nil, err
	}
	ignored, err := push.Ignored(ctx, a.db, userID)
	if err != nil {
		return nil, err
	}
	rules, err := a.rooms.InviteRulesOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(memberships, func(m storage.Membership) bool {
		return m.Membership == "invite" && (slices.Contains(ignored, m.Sender) || rules.Judge(m.Sender) != roomserver.InviteTaken)
	}), nil
}

// snapshotOf tells a room that the user is or was in, or is invited to.
func (a *API) snapshotOf(ctx context.Context, to roomserver.Reader, m storage.Membership, n int, at storage.Position, data []accountEvent) (*snapshot, error) {
	v, err := a.rooms.View(ctx, m.RoomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if m.Membership == "invite" {
		e, err := a.rooms.StateEvent(ctx, v, "m.room.member", to.UserID)
		if err != nil || e == nil {
			return nil, err
		}
		return &snapshot{RoomID: m.RoomID, Membership: "invite", Invite: roomserver.AppendClientEvent(nil, e, nil, to)}, nil
	}
	vis, err := a.rooms.Visibility(ctx, v, to.UserID)
	if err != nil || !vis.WasIn() {
		return nil, err
	}
	return (&history{a: a, v: v, vis: vis, filter: &filter.RoomEvents{}, to: to, local: true}).snapshot(ctx, n, at, data)
}

// presenceEvents tell the presence of those who are in a room with the user.
func (a *API) presenceEvents(ctx context.Context, userID string) ([]any, error) {
	list := []any{}
	if !a.o.PresenceEnabled {
		return list, nil
	}
	all, err := a.db.PresenceAround(ctx, userID, maxInitialPresence)
	for _, p := range all {
		content := map[string]any{"presence": p.State, "last_active_ago": max(0, time.Now().UnixMilli()-p.LastActiveTS), "currently_active": p.State == "online"}
		if p.StatusMsg != "" {
			content["status_msg"] = p.StatusMsg
		}
		list = append(list, map[string]any{"type": "m.presence", "sender": p.UserID, "content": content})
	}
	return list, err
}

// getEventAnywhere answers GET /_matrix/client/v3/events/{eventId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid
func (a *API) getEventAnywhere(r *http.Request, u *httpapi.Requester) (any, error) {
	list, err := a.db.EventsByID(r.Context(), []string{httpapi.Var(r, "eventId")})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, httpapi.NotFound("There is no such event")
	}
	return a.oneEvent(r, u, list[0].RoomID)
}
