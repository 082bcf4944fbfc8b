package federationapi

import (
	"encoding/json"
	"net/http"

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
