package clientapi

import (
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
)

func (a *API) spaceRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: "/rooms/{roomId}/hierarchy", Rate: httpapi.RateExpensive, Handle: a.getHierarchy}}
}

const (
	// defaultHierarchy and maxHierarchy are how many rooms a page of a hierarchy has.
	defaultHierarchy = 50
	maxHierarchy     = 100
	// maxHierarchyDepth bounds how deep spaces are looked into.
	maxHierarchyDepth = 50
)

// getHierarchy answers GET /_matrix/client/v1/rooms/{roomId}/hierarchy.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
func (a *API) getHierarchy(r *http.Request, u *httpapi.Requester) (any, error) {
	q := hierarchyQuery{userID: u.UserID, root: httpapi.Var(r, "roomId")}
	var err error
	if q.suggestedOnly, err = httpapi.BoolParam(r, "suggested_only", false); err != nil {
		return nil, err
	}
	if q.maxDepth, err = httpapi.IntParam(r, "max_depth", maxHierarchyDepth, 0); err != nil {
		return nil, err
	}
	q.maxDepth = min(q.maxDepth, maxHierarchyDepth)
	limit, err := httpapi.IntParam(r, "limit", defaultHierarchy, 1)
	if err != nil {
		return nil, err
	}
	walk, err := a.hierarchyWalk(r, q)
	if err != nil {
		return nil, err
	}
	rooms, err := walk.page(r.Context(), min(limit, maxHierarchy))
	if err != nil {
		return nil, err
	}
	if len(rooms) == 0 && r.URL.Query().Get("from") == "" {
		return nil, httpapi.Forbidden("You may not look into this room")
	}
	answer := struct {
		Rooms     []*roomserver.SpaceRoom `json:"rooms"`
		NextBatch string                  `json:"next_batch,omitempty"`
	}{rooms, ""}
	if len(walk.next) > 0 {
		answer.NextBatch = a.walks.keep(walk)
	}
	return answer, nil
}

// hierarchyWalk begins a walk or goes on with the one that the query names.
func (a *API) hierarchyWalk(r *http.Request, q hierarchyQuery) (*hierarchyWalk, error) {
	if from := r.URL.Query().Get("from"); from != "" {
		walk := a.walks.find(from)
		if walk == nil || walk.userID != q.userID || walk.root != q.root {
			return nil, httpapi.InvalidParam("from is no token of this endpoint's, or it has expired")
		}
		if walk.hierarchyQuery != q {
			return nil, httpapi.InvalidParam("max_depth and suggested_only must stay what they were on the first page")
		}
		return walk, nil
	}
	via := []string{userid.Domain(q.root)}
	v, err := a.rooms.View(r.Context(), q.root)
	if err == nil {
		// Who is only invited finds the room by the server of who invited them.
		e, err := a.rooms.StateEvent(r.Context(), v, "m.room.member", q.userID)
		if err != nil {
			return nil, err
		}
		if e != nil {
			via = append(via, userid.Domain(e.Sender))
		}
	} else if !errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, err
	}
	return newHierarchyWalk(a, q, via), nil
}
