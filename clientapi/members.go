package clientapi

import (
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/roomserver"
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
	v, state, err := a.readableWhole(r, u.UserID)
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
		// Both together mean either of them.
		wanted := want == "" && not == "" || want != "" && e.Membership == want || not != "" && e.Membership != not
		return t.Type == "m.room.member" && wanted
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
	v, _, err := a.readableWhole(r, u.UserID)
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
	b := append(make([]byte, 0, 128*len(events)+32), `{"joined":{`...)
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendProfile(b, e)
	}
	return httpapi.Raw(append(b, '}', '}')), nil
}

// appendProfile appends what a member event says of its user.
func appendProfile(b []byte, e *storage.Event) []byte {
	b = append(roomserver.AppendString(b, *e.StateKey), ':', '{')
	content := gjson.GetBytes(e.JSON, "content")
	for _, field := range []struct{ from, to string }{{"displayname", `"display_name":`}, {"avatar_url", `"avatar_url":`}} {
		if v := content.Get(field.from); v.Type == gjson.String {
			if b[len(b)-1] != '{' {
				b = append(b, ',')
			}
			b = append(append(b, field.to...), v.Raw...)
		}
	}
	return append(b, '}')
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
