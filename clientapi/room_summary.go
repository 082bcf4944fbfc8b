package clientapi

import (
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
)

func (a *API) roomSummaryRoute(path string) []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: path, Auth: httpapi.AuthOptional, Handle: a.getRoomSummary}}
}

// getRoomSummary answers GET /_matrix/client/v1/room_summary/{roomIdOrAlias}: for
// users, and of rooms that anybody may enter or look into for everyone.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
func (a *API) getRoomSummary(r *http.Request, u *httpapi.Requester) (any, error) {
	ctx, userID := r.Context(), ""
	if u != nil {
		userID = u.UserID
	}
	via, err := viaOf(r)
	if err != nil {
		return nil, err
	}
	name := httpapi.Var(r, "roomIdOrAlias")
	if len(name) > 1 && name[0] == '#' && userid.Domain(name) != a.serverName {
		if err := httpapi.Charge(r, u, httpapi.RateExpensive); err != nil {
			return nil, err
		}
	}
	roomID, servers, err := a.resolveRoom(ctx, name)
	if err != nil {
		return nil, err
	}
	remote, err := a.rooms.Remote(ctx, roomID)
	if err != nil {
		return nil, err
	}
	var d *roomserver.Description
	if remote {
		d, err = a.askSummary(r, u, roomID, append(append(via, servers...), userid.Domain(roomID)))
	} else {
		d, err = a.describe(r, roomID, userID)
	}
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, httpapi.NotFound("There is no such room that you may know of")
	}
	answer := struct {
		*roomserver.Description
		Membership string `json:"membership,omitempty"`
	}{Description: d}
	if u != nil {
		answer.Membership = "leave"
		if v, err := a.rooms.View(ctx, roomID); err == nil && v.Membership(userID) != "" {
			answer.Membership = v.Membership(userID)
		}
	}
	return answer, nil
}

// describe describes a room that this server is in.
func (a *API) describe(r *http.Request, roomID, userID string) (*roomserver.Description, error) {
	v, err := a.rooms.View(r.Context(), roomID)
	if err != nil {
		return nil, err
	}
	return a.rooms.DescribeTo(r.Context(), v, userID)
}

// askSummary has other servers describe a room.
func (a *API) askSummary(r *http.Request, u *httpapi.Requester, roomID string, via []string) (*roomserver.Description, error) {
	if a.o.Federation == nil {
		return nil, nil
	}
	if err := httpapi.Charge(r, u, httpapi.RateExpensive); err != nil {
		return nil, err
	}
	space := a.o.Federation.AskSpace(r.Context(), roomID, via, false)
	if space == nil {
		return nil, r.Context().Err()
	}
	userID := ""
	if u != nil {
		userID = u.UserID
	}
	if may, err := a.rooms.MayKnow(r.Context(), &space.Room.Description, userID); err != nil || !may {
		return nil, err
	}
	return &space.Room.Description, nil
}
