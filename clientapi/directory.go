package clientapi

import (
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/publicrooms"
	"hearth/roomserver"
)

func (a *API) directoryRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/publicRooms", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getPublicRooms},
		{Method: "POST", Path: "/publicRooms", Rate: httpapi.RateExpensive, Handle: a.postPublicRooms},
		{Method: "GET", Path: "/directory/list/room/{roomId}", Auth: httpapi.AuthNone, Handle: a.getListed},
		{Method: "PUT", Path: "/directory/list/room/{roomId}", Handle: a.putListed},
	}
}

// getPublicRooms answers GET /_matrix/client/v3/publicRooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
func (a *API) getPublicRooms(r *http.Request, _ *httpapi.Requester) (any, error) {
	q, err := publicrooms.FromURL(r)
	if err != nil {
		return nil, err
	}
	return a.publicRooms(r, q)
}

// postPublicRooms answers POST /_matrix/client/v3/publicRooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
func (a *API) postPublicRooms(r *http.Request, _ *httpapi.Requester) (any, error) {
	var q publicrooms.Query
	if err := httpapi.DecodeOptionalJSON(r, &q); err != nil {
		return nil, err
	}
	return a.publicRooms(r, &q)
}

func (a *API) publicRooms(r *http.Request, q *publicrooms.Query) (any, error) {
	if server := r.URL.Query().Get("server"); server != "" && server != a.serverName {
		if a.o.Federation == nil {
			return nil, httpapi.NotFound("This server doesn't federate: the directories of others can't be read")
		}
		return a.o.Federation.PublicRooms(r.Context(), server, q)
	}
	return publicrooms.Find(r.Context(), a.db, q)
}

// listed returns the room in the path for the directory's own requests, to which
// an unknown room is simply not there.
func (a *API) listed(r *http.Request) (*roomserver.View, error) {
	v, err := a.rooms.View(r.Context(), httpapi.Var(r, "roomId"))
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, httpapi.NotFound("There is no such room")
	}
	return v, err
}

// getListed answers GET /_matrix/client/v3/directory/list/room/{roomId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid
func (a *API) getListed(r *http.Request, _ *httpapi.Requester) (any, error) {
	v, err := a.listed(r)
	if err != nil {
		return nil, err
	}
	published, err := a.db.IsPublished(r.Context(), v.Room.NID)
	return map[string]string{"visibility": map[bool]string{true: "public", false: "private"}[published]}, err
}

// putListed answers PUT /_matrix/client/v3/directory/list/room/{roomId}: for who
// may name the room's aliases, and administrators.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid
func (a *API) putListed(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Visibility string `json:"visibility"`
	}
	if err := httpapi.DecodeOptionalJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Visibility == "" {
		body.Visibility = "public"
	}
	if body.Visibility != "public" && body.Visibility != "private" {
		return nil, httpapi.InvalidParam("visibility must be public or private")
	}
	v, err := a.listed(r)
	if err != nil {
		return nil, err
	}
	powers, err := a.rooms.PowerLevels(r.Context(), v)
	if err != nil {
		return nil, err
	}
	allowed := v.Membership(u.UserID) == "join" && powers.Of(u.UserID) >= powers.State("m.room.canonical_alias")
	if !allowed && !u.Admin {
		return nil, httpapi.Forbidden("You may not change whether the room is listed")
	}
	return nil, a.db.SetPublished(r.Context(), v.Room.NID, body.Visibility == "public")
}
