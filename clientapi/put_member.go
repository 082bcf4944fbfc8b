package clientapi

import (
	"encoding/json"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/roomserver"
)

// putMember answers PUT /rooms/{roomId}/state/m.room.member/{userId}: it does what the
// requests for memberships do.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
func (a *API) putMember(r *http.Request, u *httpapi.Requester, target string, body json.RawMessage) (any, error) {
	if _, _, ok := splitID(target, '@'); !ok {
		return nil, httpapi.InvalidParam("%q is no user id", target)
	}
	v, err := a.view(r)
	if err != nil {
		return nil, err
	}
	var content map[string]any
	if err := httpapi.Unmarshal(body, &content); err != nil {
		return nil, err
	}
	membership, ok := content["membership"].(string)
	if !ok {
		return nil, httpapi.BadJSON("membership must be a string")
	}
	m := roomserver.MembershipRequest{RoomID: v.Room.ID, Sender: u.UserID, Target: target, Membership: membership, Content: content}
	switch {
	case membership == "invite":
		err = a.invite(r.Context(), m)
	case membership == "join" && target == u.UserID:
		err = a.enterVia(r, m, nil)
	case membership == "leave" && target == u.UserID:
		if err = a.notices.mayLeave(r.Context(), v, u.UserID); err == nil {
			err = a.leave(r, m)
		}
	default:
		_, err = a.rooms.SetMembership(r.Context(), m)
	}
	if err != nil {
		return nil, err
	}
	if membership == "join" && v.Membership(target) != "join" {
		a.carryOver(r.Context(), v.Room.ID, target)
	}
	now, err := a.view(r)
	if err != nil {
		return nil, err
	}
	entry, _ := now.Entry("m.room.member", target)
	return eventID{entry.EventID}, nil
}
