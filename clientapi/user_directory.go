package clientapi

import (
	"net/http"
	"regexp"

	"hearth/internal/httpapi"
)

// mxcURI is the URI of a file.
var mxcURI = regexp.MustCompile(`^mxc://[^/\s]+/[A-Za-z0-9_-]+$`)

func (a *API) userDirectoryRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "POST", Path: "/user_directory/search", Rate: httpapi.RateExpensive, Handle: a.postUserSearch}}
}

// maxPeople bounds the people that are found at once.
const maxPeople = 100

// postUserSearch answers POST /_matrix/client/v3/user_directory/search.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
func (a *API) postUserSearch(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Term  *string `json:"search_term"`
		Limit *int    `json:"limit"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Term == nil {
		return nil, httpapi.MissingParam("search_term is missing")
	}
	if err := checkText("search term", *body.Term, maxSearchTerm); err != nil {
		return nil, err
	}
	limit := defaultPage
	if body.Limit != nil {
		if *body.Limit < 0 {
			return nil, httpapi.InvalidParam("limit must not be negative")
		}
		limit = min(*body.Limit, maxPeople)
	}
	found, more, err := a.o.People.Find(r.Context(), u.UserID, *body.Term, limit)
	if err != nil {
		return nil, err
	}
	type person struct {
		UserID      string `json:"user_id"`
		DisplayName string `json:"display_name,omitempty"`
		AvatarURL   string `json:"avatar_url,omitempty"`
	}
	people := make([]person, 0, len(found))
	for _, p := range found {
		if !mxcURI.MatchString(p.AvatarURL) {
			p.AvatarURL = "" // other servers may say anything
		}
		people = append(people, person{p.UserID, p.DisplayName, p.AvatarURL})
	}
	return map[string]any{"results": people, "limited": more}, nil
}
