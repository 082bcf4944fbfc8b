package clientapi

import (
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
)

func (a *API) mutualRoomsRoute(path string) []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: path, Rate: httpapi.RateExpensive, Handle: a.getMutualRooms}}
}

// maxMutualRooms bounds a page of shared rooms.
const maxMutualRooms = 100

// getMutualRooms answers GET /_matrix/client/v1/mutual_rooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms
func (a *API) getMutualRooms(r *http.Request, u *httpapi.Requester) (any, error) {
	q := r.URL.Query()
	other, from := q.Get("user_id"), q.Get("from")
	if other == "" {
		return nil, httpapi.MissingParam("user_id is missing")
	}
	if local, _, ok := userid.Split(other); !ok || !userid.IsCompliant(local) {
		return nil, httpapi.InvalidParam("%q is no user id", other)
	}
	if other == u.UserID {
		return nil, httpapi.InvalidParam("user_id is your own")
	}
	if from == "" {
		from = q.Get("batch_token") // of the time before it was specified
	}
	if from != "" && from[0] != '!' {
		return nil, httpapi.InvalidParam("from is no token of this endpoint's")
	}
	joined, count, err := a.db.MutualRooms(r.Context(), u.UserID, other, from, maxMutualRooms)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Joined    []string `json:"joined"`
		Count     int      `json:"count"`
		NextBatch string   `json:"next_batch,omitempty"`
	}{Joined: append([]string{}, joined...), Count: count}
	if len(joined) == maxMutualRooms {
		answer.NextBatch = joined[len(joined)-1]
	}
	return answer, nil
}
