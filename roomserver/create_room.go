package roomserver

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// CreateRoomRequest is what a client asks of a new room.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
type CreateRoomRequest struct {
	Creator         string
	Version         string
	CreationContent map[string]any
	// Preset is private_chat, trusted_private_chat or public_chat.
	Preset       string
	Alias        string // a whole alias, "" for none
	Publish      bool
	InitialState []InitialEvent
	Name, Topic  string
	Invite       []string
	// InvitesMore is whether others are invited once the room is there.
	InvitesMore bool
	IsDirect    bool
	PowerLevels map[string]json.RawMessage // overrides of the preset's
}

// preset is what a preset sets. Guests may not join where nothing says that they can.
type preset struct {
	joinRule, visibility string
	guests               bool
}

var presets = map[string]preset{
	"private_chat":         {"invite", "shared", true},
	"trusted_private_chat": {"invite", "shared", true},
	"public_chat":          {"public", "shared", false},
}

// CreateRoom makes a room with everything the request asks for, as one change.
// Errors are *httpapi.Error: M_UNSUPPORTED_ROOM_VERSION, M_ROOM_IN_USE for an
// alias that is taken, M_INVALID_ROOM_STATE for first events that contradict the
// room's own rules, M_BAD_JSON.
func (s *Server) CreateRoom(ctx context.Context, r CreateRoomRequest) (string, error) {
	if r.Version == "" {
		r.Version = s.o.DefaultRoomVersion
	}
	version, err := stableVersion(r.Version)
	if err != nil {
		return "", err
	}
	if _, ok := presets[r.Preset]; !ok {
		return "", httpapi.BadJSON("%q is no preset", r.Preset)
	}
	n := NewRoomRequest{Creator: r.Creator, Version: r.Version, CreateContent: r.createContent(version), Publish: r.Publish}
	if r.Alias != "" {
		n.Aliases = []storage.Alias{{Alias: r.Alias, Creator: r.Creator}}
	}
	if n.Events, err = s.firstEvents(ctx, &r, version); err != nil {
		return "", err
	}
	roomID, err := s.NewRoom(ctx, n)
	if httpapi.CodeOf(err) == "M_FORBIDDEN" {
		e := httpapi.New(http.StatusBadRequest, "M_INVALID_ROOM_STATE", "The room's rules refuse its own first events")
		e.Err = err
		return "", e
	}
	return roomID, err
}

// createContent is the content of the create event. From room version 12 on those
// whom trusted_private_chat trusts are creators too.
func (r *CreateRoomRequest) createContent(v gomatrixserverlib.IRoomVersion) map[string]any {
	content := maps.Clone(r.CreationContent)
	if r.Preset != "trusted_private_chat" || !v.PrivilegedCreators() || len(r.Invite) == 0 {
		return content
	}
	if content == nil {
		content = map[string]any{}
	}
	creators, _ := content["additional_creators"].([]any)
	for _, u := range r.Invite {
		if !slices.Contains(creators, any(u)) {
			creators = append(creators, u)
		}
	}
	content["additional_creators"] = creators
	return content
}

// firstEvents are the events after m.room.create, in the specification's order.
func (s *Server) firstEvents(ctx context.Context, r *CreateRoomRequest, v gomatrixserverlib.IRoomVersion) ([]InitialEvent, error) {
	join, err := s.memberContent(ctx, MembershipRequest{Sender: r.Creator, Target: r.Creator, Membership: "join"})
	if err != nil {
		return nil, err
	}
	empty := ""
	p := presets[r.Preset]
	events := []InitialEvent{
		{"m.room.member", &r.Creator, join},
		{"m.room.power_levels", &empty, r.powerLevels(v)},
	}
	if r.Alias != "" {
		events = append(events, InitialEvent{"m.room.canonical_alias", &empty, map[string]any{"alias": r.Alias}})
	}
	set := []InitialEvent{
		{"m.room.join_rules", &empty, map[string]any{"join_rule": p.joinRule}},
		{"m.room.history_visibility", &empty, map[string]any{"history_visibility": p.visibility}},
	}
	if p.guests {
		set = append(set, InitialEvent{"m.room.guest_access", &empty, map[string]any{"guest_access": "can_join"}})
	}
	for _, e := range set {
		if !r.overrides(e) {
			events = append(events, e)
		}
	}
	for _, e := range r.InitialState {
		if e.Type == "m.room.member" {
			return nil, httpapi.InvalidParam("initial_state can't have memberships: name who is to be invited in invite")
		}
	}
	events = append(events, r.InitialState...)
	if r.Name != "" {
		events = append(events, InitialEvent{"m.room.name", &empty, map[string]any{"name": r.Name}})
	}
	if r.Topic != "" {
		events = append(events, InitialEvent{"m.room.topic", &empty, topicContent(r.Topic)})
	}
	return s.addInvites(ctx, r, events)
}

// overrides reports whether the initial state has something else in e's place.
func (r *CreateRoomRequest) overrides(e InitialEvent) bool {
	return slices.ContainsFunc(r.InitialState, func(i InitialEvent) bool {
		return i.Type == e.Type && i.StateKey != nil && *i.StateKey == *e.StateKey
	})
}

// topicContent carries the topic in its old and its new form.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomtopic
func topicContent(topic string) map[string]any {
	return map[string]any{
		"topic":   topic,
		"m.topic": map[string]any{"m.text": []map[string]any{{"body": topic}}},
	}
}

// addInvites adds the invitations. Where some are blocked the room is made without them; without any left, it isn't made.
//
// https://spec.matrix.org/v1.19/client-server-api/#invite-permission
func (s *Server) addInvites(ctx context.Context, r *CreateRoomRequest, events []InitialEvent) ([]InitialEvent, error) {
	var blocked error
	invited := 0
	for _, u := range r.Invite {
		if userid.Domain(u) != s.o.ServerName {
			return nil, httpapi.Forbidden("Users of other servers can only be invited once the room is there")
		}
		if err := s.TakesInvite(ctx, u, r.Creator); httpapi.CodeOf(err) == "M_INVITE_BLOCKED" {
			blocked = err
			continue
		} else if err != nil {
			return nil, err
		}
		invited++
		extra := map[string]any{}
		if r.IsDirect {
			extra["is_direct"] = true
		}
		content, err := s.memberContent(ctx, MembershipRequest{Sender: r.Creator, Target: u, Membership: "invite", Content: extra})
		if err != nil {
			return nil, err
		}
		events = append(events, InitialEvent{"m.room.member", &u, content})
	}
	if invited == 0 && !r.InvitesMore {
		return events, blocked
	}
	return events, nil
}

// creatorsTombstone is the level that upgrading a room takes from room version 12 on,
// unless it is set otherwise: creators have it, and nobody else does.
const creatorsTombstone = 150

// powerLevels are a new room's levels. From room version 12 on creators stand
// above all levels and may not be listed, and upgrading a room is theirs alone.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
func (r *CreateRoomRequest) powerLevels(v gomatrixserverlib.IRoomVersion) map[string]any {
	users := map[string]any{}
	tombstone := creatorsTombstone
	if !v.PrivilegedCreators() {
		tombstone = 100
		users[r.Creator] = 100
		if r.Preset == "trusted_private_chat" {
			for _, u := range r.Invite {
				users[u] = 100
			}
		}
	}
	invite := 0
	if r.Preset == "public_chat" {
		invite = 50
	}
	levels := map[string]any{
		"users": users, "users_default": 0, "events_default": 0, "state_default": 50,
		"ban": 50, "kick": 50, "redact": 50, "invite": invite, "historical": 100,
		"events": map[string]any{
			"m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50, "m.room.power_levels": 100,
			"m.room.history_visibility": 100, "m.room.encryption": 100, "m.room.server_acl": 100, "m.room.tombstone": tombstone,
		},
	}
	for k, override := range r.PowerLevels {
		levels[k] = override
	}
	return levels
}
