package federationapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/publicrooms"
)

func (a *API) directoryRoutes() []httpapi.Route {
	return []httpapi.Route{
		a.signed("GET", "/publicRooms", a.getPublicRooms),
		a.signed("POST", "/publicRooms", a.postPublicRooms),
	}
}

// getPublicRooms is GET /publicRooms.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms
func (a *API) getPublicRooms(r *http.Request, _ string, _ json.RawMessage) (any, error) {
	q, err := publicrooms.FromURL(r)
	if err != nil {
		return nil, err
	}
	return publicrooms.Find(r.Context(), a.db, q)
}

// postPublicRooms is POST /publicRooms.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms
func (a *API) postPublicRooms(r *http.Request, _ string, body json.RawMessage) (any, error) {
	var q publicrooms.Query
	if body != nil {
		if err := httpapi.Unmarshal(body, &q); err != nil {
			return nil, err
		}
	}
	return publicrooms.Find(r.Context(), a.db, &q)
}

// PublicRooms reads a page of another server's directory for a user. Errors are as of
// client.AsClientError.
func (a *API) PublicRooms(ctx context.Context, server string, q *publicrooms.Query) (*publicrooms.Page, error) {
	if _, _, ok := client.SplitServerName(server); !ok {
		return nil, httpapi.InvalidParam("%q is no server name", server)
	}
	var page publicrooms.Page
	if err := a.client.Post(ctx, server, "/_matrix/federation/v1/publicRooms", q, &page); err != nil {
		return nil, client.AsClientError(err)
	}
	page.Chunk = slices.DeleteFunc(append([]publicrooms.Room{}, page.Chunk...), func(r publicrooms.Room) bool { return len(r.RoomID) < 2 || r.RoomID[0] != '!' || len(r.RoomID) > maxID })
	for i := range page.Chunk {
		page.Chunk[i].Clean()
	}
	return &page, nil
}
