package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) aliasRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/directory/room/{roomAlias}", Auth: httpapi.AuthNone, Handle: a.getAlias},
		{Method: "PUT", Path: "/directory/room/{roomAlias}", Rate: httpapi.RateMessage, Handle: a.putAlias},
		{Method: "DELETE", Path: "/directory/room/{roomAlias}", Rate: httpapi.RateMessage, Handle: a.deleteAlias},
		{Method: "GET", Path: "/rooms/{roomId}/aliases", Handle: a.getRoomAliases},
	}
}

// aliasVar is the alias in the path.
func aliasVar(r *http.Request) (alias, domain string, err error) {
	alias = httpapi.Var(r, "roomAlias")
	_, domain, ok := splitID(alias, '#')
	if !ok {
		return "", "", httpapi.InvalidParam("%q is no room alias", alias)
	}
	return alias, domain, nil
}

// getAlias answers GET /_matrix/client/v3/directory/room/{roomAlias}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias
func (a *API) getAlias(r *http.Request, _ *httpapi.Requester) (any, error) {
	name, _, err := aliasVar(r)
	if err != nil {
		return nil, err
	}
	if userid.Domain(name) != a.serverName && a.o.Federation != nil {
		// Whoever names another server's alias, even without an account, has that asked.
		if err := httpapi.Charge(r, nil, httpapi.RateExpensive); err != nil {
			return nil, err
		}
	}
	roomID, servers, err := a.resolveAlias(r.Context(), name)
	if err != nil {
		return nil, err
	}
	if userid.Domain(name) == a.serverName {
		others, err := a.otherServers(r, roomID)
		if err != nil && !errors.Is(err, roomserver.ErrUnknownRoom) {
			return nil, err
		}
		servers = append(servers, others[:min(len(others), maxAliasServers)]...)
	}
	return map[string]any{"room_id": roomID, "servers": servers}, nil
}

// maxAliasServers bounds the servers that are named with a room.
const maxAliasServers = 100

// putAlias answers PUT /_matrix/client/v3/directory/room/{roomAlias}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
func (a *API) putAlias(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		RoomID string `json:"room_id"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	name, domain, err := aliasVar(r)
	if err != nil {
		return nil, err
	}
	if body.RoomID == "" {
		return nil, httpapi.MissingParam("room_id is missing")
	}
	if domain != a.serverName {
		return nil, httpapi.InvalidParam("Aliases made here must end in :%s", a.serverName)
	}
	v, err := a.rooms.View(r.Context(), body.RoomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, notInRoom()
	}
	if err != nil {
		return nil, err
	}
	if v.Membership(u.UserID) != "join" {
		return nil, notInRoom()
	}
	err = a.db.CreateAlias(r.Context(), v.Room.NID, storage.Alias{Alias: name, Creator: u.UserID})
	if storage.IsUniqueViolation(err) {
		return nil, httpapi.New(http.StatusConflict, "M_UNKNOWN", "The alias %s is taken", name)
	}
	if errors.Is(err, storage.ErrTooManyAliases) {
		return nil, httpapi.LimitReached("The room has %d aliases, the most there may be", storage.MaxAliases)
	}
	return nil, err
}

// deleteAlias answers DELETE /_matrix/client/v3/directory/room/{roomAlias}: for
// who made the alias, who may name the room's aliases, and administrators.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias
func (a *API) deleteAlias(r *http.Request, u *httpapi.Requester) (any, error) {
	name, _, err := aliasVar(r)
	if err != nil {
		return nil, err
	}
	alias, err := a.db.GetAlias(r.Context(), name)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.NotFound("There is no room %s", name)
	}
	if err != nil {
		return nil, err
	}
	v, err := a.rooms.View(r.Context(), alias.RoomID)
	if err != nil {
		return nil, err
	}
	powers, err := a.rooms.PowerLevels(r.Context(), v)
	if err != nil {
		return nil, err
	}
	mayName := v.Membership(u.UserID) == "join" && powers.Of(u.UserID) >= powers.State("m.room.canonical_alias")
	if alias.Creator != u.UserID && !mayName && !u.Admin {
		return nil, httpapi.Forbidden("You may not remove this alias")
	}
	err = a.db.DeleteAlias(r.Context(), name)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.NotFound("There is no room %s", name)
	}
	if err == nil && mayName {
		err = a.dropCanonicalAlias(r, u, v, name)
	}
	return nil, err
}

// dropCanonicalAlias takes a removed alias out of the room's state.
func (a *API) dropCanonicalAlias(r *http.Request, u *httpapi.Requester, v *roomserver.View, alias string) error {
	e, err := a.rooms.StateEvent(r.Context(), v, "m.room.canonical_alias", "")
	if err != nil || e == nil {
		return err
	}
	raw := gjson.GetBytes(e.JSON, "content")
	if !slices.Contains(aliasesIn(raw), alias) {
		return nil
	}
	content := map[string]any{}
	if err := json.Unmarshal([]byte(raw.Raw), &content); err != nil {
		return err
	}
	if content["alias"] == alias {
		delete(content, "alias")
	}
	if list, ok := content["alt_aliases"].([]any); ok {
		content["alt_aliases"] = slices.DeleteFunc(list, func(x any) bool { return x == alias })
	}
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	_, err = a.rooms.Send(r.Context(), roomserver.EventRequest{
		RoomID: v.Room.ID, Sender: u.UserID, Type: "m.room.canonical_alias", StateKey: new(string), Content: text,
	})
	return err
}

// getRoomAliases answers GET /_matrix/client/v3/rooms/{roomId}/aliases.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases
func (a *API) getRoomAliases(r *http.Request, u *httpapi.Requester) (any, error) {
	v, err := a.view(r)
	if err != nil {
		return nil, err
	}
	vis, err := a.rooms.Visibility(r.Context(), v, u.UserID)
	if err != nil {
		return nil, err
	}
	if v.Membership(u.UserID) != "join" && !vis.MayPeek() {
		return nil, notInRoom()
	}
	aliases, err := a.db.RoomAliases(r.Context(), v.Room.NID)
	if aliases == nil {
		aliases = []string{}
	}
	return map[string]any{"aliases": aliases}, err
}
