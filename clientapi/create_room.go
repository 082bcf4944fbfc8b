package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
)

func (a *API) createRoomRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "POST", Path: "/createRoom", Rate: httpapi.RateJoin, Handle: a.postCreateRoom},
	}
}

const (
	// maxCreateInvites and maxInitialState bound a new room's first events.
	maxCreateInvites = 200
	maxInitialState  = 200
)

// createRoomBody is the body of POST /createRoom.
type createRoomBody struct {
	Visibility      string           `json:"visibility"`
	RoomAliasName   string           `json:"room_alias_name"`
	Name            string           `json:"name"`
	Topic           string           `json:"topic"`
	Invite          []string         `json:"invite"`
	Invite3PID      []threepidInvite `json:"invite_3pid"`
	RoomVersion     string           `json:"room_version"`
	CreationContent map[string]any   `json:"creation_content"`
	InitialState    []struct {
		Type     string          `json:"type"`
		StateKey string          `json:"state_key"`
		Content  json.RawMessage `json:"content"`
	} `json:"initial_state"`
	Preset                    string                     `json:"preset"`
	IsDirect                  bool                       `json:"is_direct"`
	PowerLevelContentOverride map[string]json.RawMessage `json:"power_level_content_override"`
}

// postCreateRoom answers POST /_matrix/client/v3/createRoom.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
func (a *API) postCreateRoom(r *http.Request, u *httpapi.Requester) (any, error) {
	var body createRoomBody
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if err := body.check(); err != nil {
		return nil, err
	}
	for i := range body.Invite3PID {
		if err := a.checkThreepidInvite(&body.Invite3PID[i]); err != nil {
			return nil, err
		}
	}
	q := roomserver.CreateRoomRequest{
		Creator: u.UserID, Version: body.RoomVersion, CreationContent: body.CreationContent, Preset: body.preset(),
		Publish: body.Visibility == "public", Name: body.Name, Topic: body.Topic, Invite: a.own(body.invitees(u.UserID)),
		IsDirect: body.IsDirect, PowerLevels: body.PowerLevelContentOverride,
	}
	if body.RoomAliasName != "" {
		q.Alias = "#" + body.RoomAliasName + ":" + a.serverName
		if len(q.Alias) > 255 {
			return nil, httpapi.InvalidParam("room_alias_name is too long")
		}
	}
	for _, s := range body.InitialState {
		q.InitialState = append(q.InitialState, roomserver.InitialEvent{Type: s.Type, StateKey: &s.StateKey, Content: s.Content})
	}
	others := body.invitees(u.UserID)
	others = slices.DeleteFunc(others, func(id string) bool { return userid.Domain(id) == a.serverName })
	q.InvitesMore = len(others)+len(body.Invite3PID) > 0
	if len(others) > 0 && a.o.Federation == nil {
		return nil, httpapi.Forbidden("This server doesn't federate: only its own users can be invited")
	}
	roomID, err := a.rooms.CreateRoom(r.Context(), q)
	if err != nil {
		return nil, err
	}
	a.carryOver(r.Context(), roomID, u.UserID)
	invite := roomserver.MembershipRequest{RoomID: roomID, Sender: u.UserID, Membership: "invite"}
	a.inviteOthers(r, invite, others, body.IsDirect)
	a.inviteAddresses(r, invite, body.Invite3PID, body.IsDirect)
	return map[string]string{"room_id": roomID}, nil
}

// own are those of the users that are this server's.
func (a *API) own(users []string) []string {
	return slices.DeleteFunc(users, func(id string) bool { return userid.Domain(id) != a.serverName })
}

// maxInviteTime bounds the time that inviting users of other servers may take.
const maxInviteTime = time.Minute

// inviteOthers invites users to a room that was just made. The room stands whether or not
// their servers can be reached.
func (a *API) inviteOthers(r *http.Request, m roomserver.MembershipRequest, users []string, direct bool) {
	if direct {
		m.Content = map[string]any{"is_direct": true}
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxInviteTime)
	defer cancel()
	for _, m.Target = range users {
		if err := a.invite(ctx, m); err != nil {
			a.log.Info("a user wasn't invited to a new room", "room", m.RoomID, "user", m.Target, "err", err)
		}
	}
}

// inviteAddresses is inviteOthers for the owners of addresses.
func (a *API) inviteAddresses(r *http.Request, m roomserver.MembershipRequest, list []threepidInvite, direct bool) {
	if direct {
		m.Content = map[string]any{"is_direct": true}
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxInviteTime)
	defer cancel()
	for i := range list {
		if err := a.inviteThreepid(ctx, m, &list[i]); err != nil {
			a.log.Info("the owner of an address wasn't invited to a new room", "room", m.RoomID, "err", err)
		}
	}
}

func (b *createRoomBody) check() error {
	switch {
	case b.Visibility != "" && b.Visibility != "public" && b.Visibility != "private":
		return httpapi.InvalidParam("visibility must be public or private")
	case strings.ContainsAny(b.RoomAliasName, ":#\x00 \t\r\n") || !isText(b.RoomAliasName):
		return httpapi.InvalidParam("room_alias_name must be the part between # and :, without spaces")
	case len(b.Invite)+len(b.Invite3PID) > maxCreateInvites:
		return httpapi.InvalidParam("invite and invite_3pid name more than %d people", maxCreateInvites)
	case len(b.InitialState) > maxInitialState:
		return httpapi.InvalidParam("initial_state has more than %d events", maxInitialState)
	}
	for _, u := range b.Invite {
		if _, _, ok := splitID(u, '@'); !ok {
			return httpapi.InvalidParam("%q is no user id", u)
		}
	}
	for _, s := range b.InitialState {
		if s.Type == "" || len(s.Content) == 0 {
			return httpapi.BadJSON("Each event of initial_state needs a type and a content")
		}
	}
	return b.checkCreators()
}

// checkCreators checks the creators that the content of the create event names.
func (b *createRoomBody) checkCreators() error {
	given, ok := b.CreationContent["additional_creators"]
	if !ok {
		return nil
	}
	list, ok := given.([]any)
	if !ok {
		return httpapi.InvalidParam("additional_creators must be a list of user ids")
	}
	var ids []string
	for _, id := range list {
		text, ok := id.(string)
		if !ok {
			return httpapi.InvalidParam("additional_creators must be a list of user ids")
		}
		ids = append(ids, text)
	}
	return checkCreators(ids)
}

// preset is the one asked for or, without one, what the visibility implies.
func (b *createRoomBody) preset() string {
	switch {
	case b.Preset != "":
		return b.Preset
	case b.Visibility == "public":
		return "public_chat"
	}
	return "private_chat"
}

// invitees are whom to invite, each once and not the creator.
func (b *createRoomBody) invitees(creator string) []string {
	seen := map[string]bool{creator: true}
	var list []string
	for _, u := range b.Invite {
		if !seen[u] {
			seen[u] = true
			list = append(list, u)
		}
	}
	return list
}
