package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// postJoin answers POST /_matrix/client/v3/join/{roomIdOrAlias} and POST
// /_matrix/client/v3/rooms/{roomId}/join.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias
func (a *API) postJoin(r *http.Request, u *httpapi.Requester) (any, error) {
	return a.enter(r, u, "join")
}

// postKnock answers POST /_matrix/client/v3/knock/{roomIdOrAlias}.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias
func (a *API) postKnock(r *http.Request, u *httpapi.Requester) (any, error) {
	return a.enter(r, u, "knock")
}

func (a *API) enter(r *http.Request, u *httpapi.Requester, membership string) (any, error) {
	body, signed, err := enterBody(r)
	if err != nil {
		return nil, err
	}
	via, err := viaOf(r)
	if err != nil {
		return nil, err
	}
	roomID, servers, err := a.resolveRoom(r.Context(), httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	m := roomserver.MembershipRequest{RoomID: roomID, Sender: u.UserID, Target: u.UserID, Membership: membership, Content: body, Guest: u.Guest}
	joined, err := a.hasJoined(r.Context(), roomID, u.UserID)
	if err != nil {
		return nil, err
	}
	if gjson.GetBytes(signed, "token").Exists() && membership == "join" && !joined {
		if err := a.redeem(r.Context(), roomID, u.UserID, signed); err != nil {
			return nil, err
		}
	}
	if err := a.enterVia(r, m, append(via, servers...)); err != nil {
		return nil, err
	}
	if membership == "join" && !joined {
		a.carryOver(r.Context(), roomID, u.UserID)
	}
	return map[string]string{"room_id": roomID}, nil
}

// enterVia changes the user's own membership here, or by way of another server where this
// one isn't in the room or can't tell whether its rules let the user in.
func (a *API) enterVia(r *http.Request, m roomserver.MembershipRequest, via []string) error {
	remote, err := a.rooms.Remote(r.Context(), m.RoomID)
	if m.Membership == "join" {
		remote, err = a.rooms.JoinedRemotely(r.Context(), m.RoomID, m.Target)
	}
	if err != nil {
		return err
	}
	if remote && m.Guest {
		return httpapi.GuestForbidden("Guests can't join rooms that nobody of this server is in")
	}
	if remote && a.o.Federation != nil {
		return a.enterRemote(r, m, via)
	}
	_, err = a.rooms.SetMembership(r.Context(), m)
	if code := httpapi.CodeOf(err); code != "M_UNABLE_TO_AUTHORISE_JOIN" && code != "M_UNABLE_TO_GRANT_JOIN" {
		return err
	}
	others, listErr := a.otherServers(r, m.RoomID)
	if listErr != nil {
		return listErr
	}
	if a.o.Federation == nil || m.Guest || len(others) == 0 {
		return httpapi.Forbidden("The room's join rules don't let you in, as far as this server can tell")
	}
	return a.enterRemote(r, m, append(via, others...))
}

// otherServers are those in the room, the ones with the most members first.
func (a *API) otherServers(r *http.Request, roomID string) ([]string, error) {
	v, err := a.rooms.View(r.Context(), roomID)
	if err != nil {
		return nil, err
	}
	joined := a.rooms.JoinedServers(v)
	list := slices.Sorted(maps.Keys(joined))
	slices.SortStableFunc(list, func(x, y string) int { return joined[y] - joined[x] })
	return slices.DeleteFunc(list, func(server string) bool { return server == a.serverName }), nil
}

// enterBody reads the body of a join or knock: the reason, and what else the client wants
// to stand in the member event. What others rely on there it can't set. signed is the
// third_party_signed of a join.
func enterBody(r *http.Request) (body map[string]any, signed json.RawMessage, err error) {
	var known membershipBody
	text, err := httpapi.ReadOptionalJSON(r)
	if err != nil || text == nil {
		return nil, nil, err
	}
	if err := httpapi.Unmarshal(text, &known); err != nil {
		return nil, nil, err
	}
	if err := httpapi.Unmarshal(text, &body); err != nil {
		return nil, nil, err
	}
	for _, name := range []string{"membership", "displayname", "avatar_url", "is_direct", "third_party_invite", "third_party_signed",
		"join_authorised_via_users_server", "user_id"} {
		delete(body, name)
	}
	return body, known.ThirdPartySigned, nil
}

// resolveRoom returns the room id that an id or an alias stands for and, of another
// server's alias, which servers are in the room.
func (a *API) resolveRoom(ctx context.Context, idOrAlias string) (roomID string, servers []string, err error) {
	switch {
	case len(idOrAlias) > 1 && idOrAlias[0] == '!':
		return idOrAlias, nil, nil
	case len(idOrAlias) > 1 && idOrAlias[0] == '#':
		return a.resolveAlias(ctx, idOrAlias)
	}
	return "", nil, httpapi.InvalidParam("%q is neither a room id nor an alias", idOrAlias)
}

func (a *API) resolveAlias(ctx context.Context, name string) (roomID string, servers []string, err error) {
	if domain := userid.Domain(name); domain != a.serverName && domain != "" && a.o.Federation != nil {
		return a.o.Federation.ResolveAlias(ctx, name)
	}
	alias, err := a.db.GetAlias(ctx, name)
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil, httpapi.NotFound("There is no room %s", name)
	}
	if err != nil {
		return "", nil, err
	}
	return alias.RoomID, []string{a.serverName}, nil
}
