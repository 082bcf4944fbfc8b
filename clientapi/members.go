package clientapi

import (
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/storage"
)

func (a *API) memberRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/rooms/{roomId}/members", Handle: a.getMembers},
		{Method: "GET", Path: "/rooms/{roomId}/joined_members", Handle: a.getJoinedMembers},
		{Method: "GET", Path: "/joined_rooms", Handle: a.getJoinedRooms},
	}
}

// getMembers answers GET /_matrix/client/v3/rooms/{roomId}/members.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
func (a *API) getMembers(r *http.Request, u *httpapi.Requester) (any, error) {
	v, state, err := a.readable(r, u.UserID)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	if at := q.Get("at"); at != "" {
		gap, err := token.ParseGap(at)
		if err != nil {
			return nil, httpapi.InvalidParam("at is no token of this server's")
		}
		if gap.After.Position < v.Room.LatestPosition && v.Membership(u.UserID) == "join" {
			if state, err = a.rooms.StateAtPosition(r.Context(), v.Room.NID, gap.Next()); err != nil {
				return nil, err
			}
		}
	}
	if state == nil {
		return httpapi.Raw(`{"chunk":[]}`), nil
	}
	want, not := q.Get("membership"), q.Get("not_membership")
	for _, m := range []string{want, not} {
		if !slices.Contains([]string{"", "join", "invite", "leave", "ban", "knock"}, m) {
			return nil, httpapi.InvalidParam("%q is no membership", m)
		}
	}
	events, err := a.stateEvents(r.Context(), state, func(t storage.StateTuple, e storage.StateEntry) bool {
		return t.Type == "m.room.member" && (want == "" || e.Membership == want) && (not == "" || e.Membership != not)
	})
	if err != nil {
		return nil, err
	}
	b, err := a.appendEvents(r.Context(), []byte(`{"chunk":`), events, nil, reader(u))
	return httpapi.Raw(append(b, '}')), err
}

// getJoinedMembers answers GET /_matrix/client/v3/rooms/{roomId}/joined_members.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members
func (a *API) getJoinedMembers(r *http.Request, u *httpapi.Requester) (any, error) {
	v, err := a.view(r)
	if err != nil {
		return nil, err
	}
	if v.Membership(u.UserID) != "join" {
		return nil, notInRoom()
	}
	events, err := a.stateEvents(r.Context(), v.State, func(t storage.StateTuple, e storage.StateEntry) bool {
		return t.Type == "m.room.member" && e.Membership == "join"
	})
	if err != nil {
		return nil, err
	}
	type profile struct {
		DisplayName *string `json:"display_name,omitempty"`
		AvatarURL   *string `json:"avatar_url,omitempty"`
	}
	joined := make(map[string]profile, len(events))
	for _, e := range events {
		values := gjson.GetManyBytes(e.JSON, "content.displayname", "content.avatar_url")
		var p profile
		if values[0].Type == gjson.String {
			p.DisplayName = &values[0].Str
		}
		if values[1].Type == gjson.String {
			p.AvatarURL = &values[1].Str
		}
		joined[*e.StateKey] = p
	}
	return map[string]any{"joined": joined}, nil
}

// getJoinedRooms answers GET /_matrix/client/v3/joined_rooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms
func (a *API) getJoinedRooms(r *http.Request, u *httpapi.Requester) (any, error) {
	memberships, err := a.db.UserMemberships(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	rooms := []string{}
	for _, m := range memberships {
		if m.Membership == "join" {
			rooms = append(rooms, m.RoomID)
		}
	}
	return map[string]any{"joined_rooms": rooms}, nil
}
