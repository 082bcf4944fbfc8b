package federationapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"sort"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) queryRoutes() []httpapi.Route {
	return []httpapi.Route{
		a.signed("GET", "/query/profile", a.getProfile),
		a.signed("GET", "/query/directory", a.getAlias),
	}
}

// getProfile is GET /query/profile.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
func (a *API) getProfile(r *http.Request, _ string, _ json.RawMessage) (any, error) {
	userID, field := one(r, "user_id"), one(r, "field")
	if userID == "" {
		return nil, httpapi.MissingParam("user_id is missing")
	}
	if _, _, ok := client.SplitServerName(userid.Domain(userID)); !ok {
		return nil, httpapi.InvalidParam("%.255q is no user id", userID)
	}
	unknown := httpapi.NotFound("There is no such user on this server")
	if !userid.IsLocal(userID, a.serverName) {
		return nil, unknown
	}
	profile, err := a.db.GetProfile(r.Context(), userID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, unknown
	}
	if err != nil || field == "" {
		return profile, err
	}
	value, ok := profile[field]
	if !ok {
		return struct{}{}, nil
	}
	return map[string]json.RawMessage{field: value}, nil
}

// maxAliasServers bounds the servers that are named for joining by an alias.
const maxAliasServers = 50

// getAlias is GET /query/directory.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
func (a *API) getAlias(r *http.Request, _ string, _ json.RawMessage) (any, error) {
	name := one(r, "room_alias")
	if name == "" {
		return nil, httpapi.MissingParam("room_alias is missing")
	}
	alias, err := a.db.GetAlias(r.Context(), name)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.NotFound("There is no such alias on this server")
	}
	if err != nil {
		return nil, err
	}
	v, err := a.rooms.View(r.Context(), alias.RoomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, httpapi.NotFound("There is no such alias on this server")
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"room_id": alias.RoomID, "servers": a.biggestServers(v)}, nil
}

// biggestServers names servers in the room, this one first, then those with most
// members, which are least likely to leave.
func (a *API) biggestServers(v *roomserver.View) []string {
	joined := a.rooms.JoinedServers(v)
	servers := make([]string, 0, len(joined))
	for server := range joined {
		if server != a.serverName {
			servers = append(servers, server)
		}
	}
	sort.Slice(servers, func(i, j int) bool {
		x, y := servers[i], servers[j]
		return joined[x] > joined[y] || joined[x] == joined[y] && x < y
	})
	servers = append([]string{a.serverName}, servers...)
	return servers[:min(len(servers), maxAliasServers)]
}
