package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) stateRoutes() []httpapi.Route {
	const byType, byKey = "/rooms/{roomId}/state/{eventType}", "/rooms/{roomId}/state/{eventType}/{stateKey}"
	return []httpapi.Route{
		{Method: "GET", Path: "/rooms/{roomId}/state", Handle: a.getState},
		{Method: "GET", Path: byType, Handle: a.getStateEvent},
		{Method: "GET", Path: byType + "/", Handle: a.getStateEvent},
		{Method: "GET", Path: byKey, Handle: a.getStateEvent},
		{Method: "PUT", Path: byType, Rate: httpapi.RateMessage, Handle: a.putState},
		{Method: "PUT", Path: byType + "/", Rate: httpapi.RateMessage, Handle: a.putState},
		{Method: "PUT", Path: byKey, Rate: httpapi.RateMessage, Handle: a.putState},
	}
}

// getState answers GET /_matrix/client/v3/rooms/{roomId}/state.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
func (a *API) getState(r *http.Request, u *httpapi.Requester) (any, error) {
	_, state, err := a.readableWhole(r, u.UserID)
	if err != nil {
		return nil, err
	}
	events, err := a.stateEvents(r.Context(), state, nil)
	if err != nil {
		return nil, err
	}
	b, err := a.appendEvents(r.Context(), nil, events, nil, reader(u))
	return httpapi.Raw(b), err
}

// getStateEvent answers GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey
func (a *API) getStateEvent(r *http.Request, u *httpapi.Requester) (any, error) {
	_, state, err := a.readable(r, u.UserID)
	if err != nil {
		return nil, err
	}
	format := r.URL.Query().Get("format")
	if format != "" && format != "content" && format != "event" {
		return nil, httpapi.InvalidParam("format must be content or event")
	}
	tuple := storage.StateTuple{Type: httpapi.Var(r, "eventType"), StateKey: httpapi.Var(r, "stateKey")}
	entry, ok := state.Get(tuple)
	if !ok && tuple.Type == "m.room.member" {
		if _, state, err = a.readableWhole(r, u.UserID); err != nil {
			return nil, err
		}
		entry, ok = state.Get(tuple)
	}
	if !ok {
		return nil, httpapi.NotFound("The room has no such state")
	}
	byNID, err := a.rooms.Events(r.Context(), []int64{entry.EventNID})
	if err != nil {
		return nil, err
	}
	e := byNID[entry.EventNID]
	if format != "event" {
		return httpapi.Raw(gjson.GetBytes(e.JSON, "content").Raw), nil
	}
	related, err := a.rooms.Related(r.Context(), []*storage.Event{e})
	return httpapi.Raw(roomserver.AppendClientEvent(nil, e, related, reader(u))), err
}

// putState answers PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
func (a *API) putState(r *http.Request, u *httpapi.Requester) (any, error) {
	content, err := httpapi.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	eventType, stateKey, roomID := httpapi.Var(r, "eventType"), httpapi.Var(r, "stateKey"), httpapi.Var(r, "roomId")
	if err := a.checkState(r, u, stateKey, content); err != nil {
		return nil, err
	}
	if isDelayed(r) {
		return a.scheduleParam(r, u, storage.DelayedEvent{StateKey: &stateKey, Content: content})
	}
	if eventType == "m.room.member" {
		return a.putMember(r, u, stateKey, content)
	}
	sticky, err := stickyParam(r)
	if err != nil {
		return nil, err
	}
	id, err := a.rooms.Send(r.Context(), roomserver.EventRequest{
		RoomID: roomID, Sender: u.UserID, Type: eventType, StateKey: &stateKey, Content: content, StickyMS: sticky,
	})
	return eventID{id}, err
}

// checkState refuses what may not become the state of the room in the path, now or later, whatever the room's rules are.
func (a *API) checkState(r *http.Request, u *httpapi.Requester, stateKey string, content json.RawMessage) error {
	switch eventType := httpapi.Var(r, "eventType"); {
	case u.Guest && eventType == "m.room.member" && gjson.GetBytes(content, "membership").Str != "leave":
		return httpapi.GuestForbidden("Guests join rooms by /join, and change no other membership")
	case eventType == "m.room.canonical_alias" && stateKey == "":
		return a.checkCanonicalAlias(r, u, httpapi.Var(r, "roomId"), gjson.ParseBytes(content))
	}
	return nil
}

// checkCanonicalAlias refuses aliases that don't point to the room, unless the
// room names them already.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias
func (a *API) checkCanonicalAlias(r *http.Request, u *httpapi.Requester, roomID string, content gjson.Result) error {
	for _, alias := range append(content.Get("alt_aliases").Array(), content.Get("alias")) {
		if alias.Type != gjson.String && alias.Type != gjson.Null {
			return httpapi.InvalidParam("Aliases must be strings")
		}
	}
	if alt := content.Get("alt_aliases"); alt.Exists() && !alt.IsArray() {
		return httpapi.InvalidParam("alt_aliases must be a list")
	}
	known, err := a.canonicalAliases(r.Context(), roomID)
	if err != nil {
		return err
	}
	old := map[string]bool{"": true}
	for _, alias := range known {
		old[alias] = true
	}
	fresh := slices.DeleteFunc(aliasesIn(content), func(alias string) bool { return old[alias] })
	for _, alias := range fresh {
		if _, _, ok := splitID(alias, '#'); !ok {
			return httpapi.InvalidParam("%q is no room alias", alias)
		}
	}
	pointing, err := a.db.AliasesOf(r.Context(), roomID, fresh)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxAliasTime)
	defer cancel()
	for _, alias := range fresh {
		points := slices.Contains(pointing, alias)
		if !points && userid.Domain(alias) != a.serverName {
			if points, err = a.pointsFarTo(ctx, r, u, alias, roomID); err != nil {
				return err
			}
		}
		if !points {
			return httpapi.New(http.StatusBadRequest, "M_BAD_ALIAS", "%s doesn't point to this room", alias)
		}
	}
	return nil
}

// maxAliasTime bounds the time that other servers may take to say where an event's aliases point.
const maxAliasTime = 10 * time.Second

// pointsFarTo reports whether another server's alias points to the room.
func (a *API) pointsFarTo(ctx context.Context, r *http.Request, u *httpapi.Requester, alias, roomID string) (bool, error) {
	if a.o.Federation == nil {
		return false, nil
	}
	if err := httpapi.Charge(r, u, httpapi.RateExpensive); err != nil {
		return false, err
	}
	to, _, err := a.o.Federation.ResolveAlias(ctx, alias)
	if err != nil {
		a.log.Info("where an alias of another server points isn't known", "alias", alias, "err", err)
	}
	return err == nil && to == roomID, r.Context().Err()
}

// aliasesIn are the aliases that an m.room.canonical_alias names.
func aliasesIn(content gjson.Result) []string {
	list := []string{content.Get("alias").Str}
	for _, alt := range content.Get("alt_aliases").Array() {
		list = append(list, alt.Str)
	}
	return list
}

// canonicalAliases are those that the room's state names.
func (a *API) canonicalAliases(ctx context.Context, roomID string) ([]string, error) {
	v, err := a.rooms.View(ctx, roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, err := a.rooms.StateEvent(ctx, v, "m.room.canonical_alias", "")
	if err != nil || e == nil {
		return nil, err
	}
	return aliasesIn(gjson.GetBytes(e.JSON, "content")), nil
}
