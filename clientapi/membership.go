package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) membershipRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "POST", Path: "/rooms/{roomId}/invite", Rate: httpapi.RateInvite, Handle: a.postInvite},
		{Method: "POST", Path: "/rooms/{roomId}/join", Rate: httpapi.RateJoin, Handle: a.postJoin},
		{Method: "POST", Path: "/join/{roomId}", Rate: httpapi.RateJoin, Handle: a.postJoin},
		{Method: "POST", Path: "/knock/{roomId}", Rate: httpapi.RateJoin, Handle: a.postKnock},
		{Method: "POST", Path: "/rooms/{roomId}/leave", Rate: httpapi.RateMessage, Handle: a.postLeave},
		{Method: "POST", Path: "/rooms/{roomId}/forget", Handle: a.postForget},
		{Method: "POST", Path: "/rooms/{roomId}/kick", Rate: httpapi.RateMessage, Handle: a.postKick},
		{Method: "POST", Path: "/rooms/{roomId}/ban", Rate: httpapi.RateMessage, Handle: a.postBan},
		{Method: "POST", Path: "/rooms/{roomId}/unban", Rate: httpapi.RateMessage, Handle: a.postUnban},
	}
}

// membershipBody is the body of the requests that change a membership.
type membershipBody struct {
	UserID string `json:"user_id"`
	Reason string `json:"reason"`
	// ThirdPartySigned, of a join, is an identity server's word that an invitation to an
	// address is meant for the user.
	ThirdPartySigned json.RawMessage `json:"third_party_signed"`
	threepidInvite
}

// target decodes the body of a request about somebody else's membership.
func target(r *http.Request) (*membershipBody, error) {
	var body membershipBody
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.UserID == "" {
		return nil, httpapi.MissingParam("user_id is missing")
	}
	if _, _, ok := splitID(body.UserID, '@'); !ok {
		return nil, httpapi.InvalidParam("%q is no user id", body.UserID)
	}
	return &body, nil
}

// setMembership changes target's membership of the room in the path.
func (a *API) setMembership(r *http.Request, sender, target, membership, reason string) error {
	_, err := a.rooms.SetMembership(r.Context(), roomserver.MembershipRequest{
		RoomID: httpapi.Var(r, "roomId"), Sender: sender, Target: target, Membership: membership, Reason: reason,
	})
	return err
}

// membershipOf is the target's membership of the room in the path, for a sender
// who must be in it.
func (a *API) membershipOf(r *http.Request, sender, target string) (string, error) {
	v, err := a.view(r)
	if err != nil {
		return "", err
	}
	if v.Membership(sender) != "join" {
		return "", notInRoom()
	}
	return v.Membership(target), nil
}

// postInvite answers POST /_matrix/client/v3/rooms/{roomId}/invite.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
func (a *API) postInvite(r *http.Request, u *httpapi.Requester) (any, error) {
	var body membershipBody
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.UserID == "" && (body.Medium != "" || body.Address != "" || body.IDServer != "") {
		return nil, a.inviteAddress(r, u, &body)
	}
	if _, _, ok := splitID(body.UserID, '@'); !ok {
		return nil, httpapi.InvalidParam("%q is no user id", body.UserID)
	}
	membership, err := a.membershipOf(r, u.UserID, body.UserID)
	if err != nil {
		return nil, err
	}
	if membership == "join" {
		return nil, httpapi.Forbidden("%s is in the room already", body.UserID)
	}
	return nil, a.invite(r.Context(), roomserver.MembershipRequest{
		RoomID: httpapi.Var(r, "roomId"), Sender: u.UserID, Target: body.UserID, Membership: "invite", Reason: body.Reason})
}

// invite invites a user of this server or another.
func (a *API) invite(ctx context.Context, m roomserver.MembershipRequest) error {
	if userid.Domain(m.Target) != a.serverName {
		return a.inviteRemote(ctx, m)
	}
	_, err := a.rooms.SetMembership(ctx, m)
	return err
}

// postLeave answers POST /_matrix/client/v3/rooms/{roomId}/leave.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave
func (a *API) postLeave(r *http.Request, u *httpapi.Requester) (any, error) {
	var body membershipBody
	if err := httpapi.DecodeOptionalJSON(r, &body); err != nil {
		return nil, err
	}
	v, err := a.view(r)
	if err != nil {
		return nil, err
	}
	if m := v.Membership(u.UserID); m == "" {
		return nil, notInRoom()
	} else if m == "leave" {
		return nil, nil
	}
	if err := a.notices.mayLeave(r.Context(), v, u.UserID); err != nil {
		return nil, err
	}
	return nil, a.leave(r, roomserver.MembershipRequest{
		RoomID: v.Room.ID, Sender: u.UserID, Target: u.UserID, Membership: "leave", Reason: body.Reason})
}

// leave takes a user out of a room.
func (a *API) leave(r *http.Request, m roomserver.MembershipRequest) error {
	remote, err := a.rooms.Remote(r.Context(), m.RoomID)
	if err != nil {
		return err
	}
	if remote {
		return a.leaveRemote(r, m)
	}
	_, err = a.rooms.SetMembership(r.Context(), m)
	return err
}

// postForget answers POST /_matrix/client/v3/rooms/{roomId}/forget.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
func (a *API) postForget(r *http.Request, u *httpapi.Requester) (any, error) {
	v, err := a.view(r)
	if err != nil {
		return nil, err
	}
	err = a.db.Forget(r.Context(), v.Room.NID, u.UserID)
	if errors.Is(err, storage.ErrNotFound) {
		if v.Membership(u.UserID) == "" {
			return nil, notInRoom()
		}
		return nil, httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "You are still in the room: leave it first")
	}
	return nil, err
}

// postKick answers POST /_matrix/client/v3/rooms/{roomId}/kick.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick
func (a *API) postKick(r *http.Request, u *httpapi.Requester) (any, error) {
	body, err := target(r)
	if err != nil {
		return nil, err
	}
	membership, err := a.membershipOf(r, u.UserID, body.UserID)
	if err != nil {
		return nil, err
	}
	if membership != "join" && membership != "invite" && membership != "knock" {
		return nil, httpapi.Forbidden("%s isn't in the room", body.UserID)
	}
	return nil, a.setMembership(r, u.UserID, body.UserID, "leave", body.Reason)
}

// postBan answers POST /_matrix/client/v3/rooms/{roomId}/ban.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban
func (a *API) postBan(r *http.Request, u *httpapi.Requester) (any, error) {
	body, err := target(r)
	if err != nil {
		return nil, err
	}
	if _, err := a.membershipOf(r, u.UserID, body.UserID); err != nil {
		return nil, err
	}
	return nil, a.setMembership(r, u.UserID, body.UserID, "ban", body.Reason)
}

// postUnban answers POST /_matrix/client/v3/rooms/{roomId}/unban.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban
func (a *API) postUnban(r *http.Request, u *httpapi.Requester) (any, error) {
	body, err := target(r)
	if err != nil {
		return nil, err
	}
	membership, err := a.membershipOf(r, u.UserID, body.UserID)
	if err != nil {
		return nil, err
	}
	if membership != "ban" {
		return nil, httpapi.Forbidden("%s isn't banned", body.UserID)
	}
	return nil, a.setMembership(r, u.UserID, body.UserID, "leave", body.Reason)
}
