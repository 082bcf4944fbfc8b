package clientapi

import (
	"errors"
	"net/http"

	"hearth/internal/canonicaljson"
	"hearth/internal/filter"
	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) filterRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "POST", Path: "/user/{userId}/filter", MaxBody: filter.MaxBytes, Handle: a.postFilter},
		{Method: "GET", Path: "/user/{userId}/filter/{filterId}", Handle: a.getFilter},
	}
}

// ownFilters refuses requests for the filters of somebody else.
func ownFilters(r *http.Request, u *httpapi.Requester) error {
	if httpapi.Var(r, "userId") != u.UserID {
		return httpapi.Forbidden("You can only use your own filters")
	}
	return nil
}

// postFilter is POST /user/{userId}/filter. The same filter always has the same
// id.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
func (a *API) postFilter(r *http.Request, u *httpapi.Requester) (any, error) {
	if err := ownFilters(r, u); err != nil {
		return nil, err
	}
	body, err := httpapi.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	if _, err := filter.ParseSync(body); err != nil {
		return nil, httpapi.BadJSON("The filter is invalid: %v", err)
	}
	canonical, err := canonicaljson.Append(nil, body)
	if err != nil {
		return nil, httpapi.BadJSON("The filter is not canonical JSON: %s", err)
	}
	id, err := a.db.PutFilter(r.Context(), u.UserID, canonical)
	if errors.Is(err, storage.ErrTooManyFilters) {
		return nil, httpapi.LimitReached("A user can have at most %d filters", storage.MaxFilters)
	}
	if err != nil {
		return nil, err
	}
	return map[string]string{"filter_id": id}, nil
}

// getFilter is GET /user/{userId}/filter/{filterId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid
func (a *API) getFilter(r *http.Request, u *httpapi.Requester) (any, error) {
	if err := ownFilters(r, u); err != nil {
		return nil, err
	}
	content, err := a.db.GetFilter(r.Context(), u.UserID, httpapi.Var(r, "filterId"))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.NotFound("Unknown filter")
	}
	return httpapi.Raw(content), err
}
