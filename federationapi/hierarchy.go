package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/roomserver"
)

func (a *API) hierarchyRoutes() []httpapi.Route {
	return []httpapi.Route{a.signed("GET", "/hierarchy/{roomId}", a.getHierarchy)}
}

// maxHierarchy bounds the children of a space that are described in one answer.
const maxHierarchy = 100

// getHierarchy is GET /hierarchy/{roomId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
func (a *API) getHierarchy(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	suggested, err := httpapi.BoolParam(r, "suggested_only", false)
	if err != nil {
		return nil, err
	}
	roomID := httpapi.Var(r, "roomId")
	v, d, err := a.describe(r.Context(), origin, roomID)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, httpapi.NotFound("There is no such room that %s may know of", origin)
	}
	children, err := a.rooms.SpaceChildren(r.Context(), v, suggested)
	if err != nil {
		return nil, err
	}
	space := roomserver.Space{Room: roomserver.SpaceRoom{Description: *d, Children: children},
		Children: []roomserver.Description{}, Inaccessible: []string{}}
	for _, c := range children[:min(len(children), maxHierarchy)] {
		v, d, err := a.describe(r.Context(), origin, c.RoomID)
		switch {
		case err != nil:
			return nil, err
		case d != nil:
			space.Children = append(space.Children, *d)
		case v != nil:
			space.Inaccessible = append(space.Inaccessible, c.RoomID)
		}
	}
	return &space, nil
}

// describe describes a room to another server. The view is nil for a room that this
// server isn't in, the description for one that the other may not know of.
func (a *API) describe(ctx context.Context, origin, roomID string) (*roomserver.View, *roomserver.Description, error) {
	if len(roomID) > maxID {
		return nil, nil, nil
	}
	v, err := a.rooms.View(ctx, roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	remote, err := a.rooms.Remote(ctx, roomID)
	if err != nil || remote {
		return nil, nil, err
	}
	d, err := a.rooms.DescribeToServer(ctx, v, origin)
	return v, d, err
}
