package roomserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
)

// UpgradeRequest is a local user's wish to replace a room by a new one.
type UpgradeRequest struct {
	RoomID, User string
	// Version is the new room's.
	Version string
	// AdditionalCreators are the new room's creators beside the user, from room version
	// 12 on.
	AdditionalCreators []string
}

// Upgrade replaces a room: the new one has what can be taken over of the old one's state,
// its aliases and its place in the directory, and a tombstone in the old one names it.
// It returns the new room's id. Errors are *httpapi.Error: M_FORBIDDEN if the user
// isn't in the room or may not send a tombstone, M_UNSUPPORTED_ROOM_VERSION.
//
// The new room comes first. If the program ends before the tombstone is sent, the old
// room is what it was, and an unknown room more is there.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
func (s *Server) Upgrade(ctx context.Context, r UpgradeRequest) (string, error) {
	// Who asks twice at the same time wants one new room.
	id, err, _ := s.upgrading.Do(r.User+" "+r.RoomID+" "+r.Version, func() (any, error) {
		return s.upgrade(context.WithoutCancel(ctx), r)
	})
	if err != nil {
		return "", err
	}
	return id.(string), nil
}

func (s *Server) upgrade(ctx context.Context, r UpgradeRequest) (string, error) {
	version, err := stableVersion(r.Version)
	if err != nil {
		return "", err
	}
	v, err := s.View(ctx, r.RoomID)
	if err != nil && !errors.Is(err, ErrUnknownRoom) {
		return "", err
	}
	if err != nil || v.Membership(r.User) != "join" {
		return "", httpapi.Forbidden("You aren't in the room %s", r.RoomID)
	}
	powers, err := s.PowerLevels(ctx, v)
	if err != nil {
		return "", err
	}
	if powers.Of(r.User) < powers.State("m.room.tombstone") {
		return "", httpapi.Forbidden("You may not upgrade this room")
	}
	u := &upgrade{UpgradeRequest: r, s: s, old: v, powers: powers, version: version}
	newRoom, err := u.makeRoom(ctx)
	if err != nil {
		return "", fmt.Errorf("making the room that replaces %s: %w", r.RoomID, err)
	}
	next, err := s.View(ctx, newRoom)
	if err != nil {
		return "", err
	}
	if err := s.change(ctx, r.RoomID, func(b *builder) error { return u.retire(b, next) }); err != nil {
		return "", err
	}
	if err := u.moveInSpaces(ctx, newRoom); err != nil {
		s.log.Warn("a space still has a room that was upgraded", "room", r.RoomID, "err", err)
	}
	return newRoom, nil
}

// stableVersion is a room version by its name, or M_UNSUPPORTED_ROOM_VERSION.
func stableVersion(name string) (gomatrixserverlib.IRoomVersion, error) {
	version, err := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(name))
	if err != nil || !version.Stable() {
		return nil, httpapi.New(http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION", "Room version %q isn't supported", name)
	}
	return version, nil
}

// upgrade is an upgrade that is going on.
type upgrade struct {
	UpgradeRequest
	s       *Server
	old     *View
	powers  PowerLevels // the old room's
	version gomatrixserverlib.IRoomVersion
}

// maxUpgradeEvents bounds the events of the new room that are written as one change.
const maxUpgradeEvents = 200

// makeRoom makes the new room.
func (u *upgrade) makeRoom(ctx context.Context) (string, error) {
	content, err := u.createContent(ctx)
	if err != nil {
		return "", err
	}
	events, err := u.firstEvents(ctx)
	if err != nil {
		return "", err
	}
	more, err := u.laterEvents(ctx)
	if err != nil {
		return "", err
	}
	first, final := u.levels()
	if first != nil {
		events = append(events[:1], append([]InitialEvent{{"m.room.power_levels", new(""), first}}, events[1:]...)...)
	}
	if final != nil {
		more = append(more, InitialEvent{"m.room.power_levels", new(""), final})
	}
	room, err := u.s.NewRoom(ctx, NewRoomRequest{Creator: u.User, Version: u.Version, CreateContent: content, Events: events})
	for err == nil && len(more) > 0 {
		n := min(len(more), maxUpgradeEvents)
		err = u.s.change(ctx, room, func(b *builder) error { return u.addLater(b, more[:n]) })
		more = more[n:]
	}
	return room, err
}

// addLater adds events, leaving out what the new room refuses: the user may lack the power
// to ban whom another has banned.
func (u *upgrade) addLater(b *builder, events []InitialEvent) error {
	for _, e := range events {
		raw, err := json.Marshal(e.Content)
		if err != nil {
			return fmt.Errorf("encoding a %s: %w", e.Type, err)
		}
		_, err = b.send(EventRequest{RoomID: b.head.row.ID, Sender: u.User, Type: e.Type, StateKey: e.StateKey, Content: raw}, [16]byte{}, nil)
		if err != nil && httpapi.CodeOf(err) != "M_FORBIDDEN" {
			return err
		}
	}
	return nil
}

// retire ends the old room: a tombstone names the new one, which gets the aliases and the
// place in the directory, and where the user has the power for it nobody but
// moderators can talk or invite any more.
func (u *upgrade) retire(b *builder, next *View) error {
	tombstone := map[string]any{"body": "This room has been replaced", "replacement_room": next.Room.ID}
	if err := u.sendState(b, "m.room.tombstone", tombstone); err != nil {
		return err
	}
	b.change.SuccessorNID = next.Room.NID
	aliases, err := b.stateContent("m.room.canonical_alias")
	if err != nil {
		return err
	}
	if kept, moved := u.s.splitAliases(aliases); moved != nil {
		if err := u.sendIfAllowed(b, "m.room.canonical_alias", kept); err != nil {
			return err
		}
	}
	levels, err := b.stateContent("m.room.power_levels")
	if err != nil || levels == nil {
		return err // without levels, those that are set would take the creator's power
	}
	raised, err := raisedLevels(levels)
	if err != nil {
		return err
	}
	return u.sendIfAllowed(b, "m.room.power_levels", raised)
}

// raisedLevels are power levels with which only moderators can talk and invite.
func raisedLevels(levels json.RawMessage) (json.RawMessage, error) {
	lowest := max(50, number(gjson.GetBytes(levels, "users_default"), 0)+1)
	for _, action := range []string{"events_default", "invite"} {
		if number(gjson.GetBytes(levels, action), 0) >= lowest {
			continue
		}
		var err error
		if levels, err = sjson.SetBytes(levels, action, lowest); err != nil {
			return nil, fmt.Errorf("raising power levels: %w", err)
		}
	}
	return levels, nil
}

func (u *upgrade) sendState(b *builder, eventType string, content any) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encoding a %s: %w", eventType, err)
	}
	req := EventRequest{RoomID: b.head.row.ID, Sender: u.User, Type: eventType, StateKey: new(string), Content: raw}
	if b.unchanged(req) != "" {
		return nil
	}
	_, err = b.send(req, [16]byte{}, nil)
	return err
}

// sendIfAllowed is sendState for what the user may lack the power to send.
func (u *upgrade) sendIfAllowed(b *builder, eventType string, content any) error {
	err := u.sendState(b, eventType, content)
	if code := httpapi.CodeOf(err); code == "M_FORBIDDEN" || code == "M_BAD_JSON" {
		return nil
	}
	return err
}

// canonicalAlias is the content of an m.room.canonical_alias.
type canonicalAlias struct {
	Alias string   `json:"alias,omitempty"`
	Alt   []string `json:"alt_aliases,omitempty"`
}

// splitAliases takes the local aliases out of the content of an m.room.canonical_alias.
// moved is nil if there are none.
func (s *Server) splitAliases(content json.RawMessage) (kept, moved *canonicalAlias) {
	kept = &canonicalAlias{}
	there := canonicalAlias{}
	sort := func(alias string) *canonicalAlias {
		if userid.Domain(alias) != s.o.ServerName {
			return kept
		}
		moved = &there
		return moved
	}
	if alias := gjson.GetBytes(content, "alias").Str; alias != "" {
		sort(alias).Alias = alias
	}
	for _, alias := range gjson.GetBytes(content, "alt_aliases").Array() {
		to := sort(alias.Str)
		to.Alt = append(to.Alt, alias.Str)
	}
	return kept, moved
}

// moveInSpaces has the spaces that the room says it is in, and in which the user may say
// so, name the new room in the old one's place.
func (u *upgrade) moveInSpaces(ctx context.Context, newRoom string) error {
	for _, space := range u.stateKeys("m.space.parent", maxParents) {
		v, err := u.s.View(ctx, space)
		if errors.Is(err, ErrUnknownRoom) || err == nil && v.Membership(u.User) != "join" {
			continue
		}
		if err != nil {
			return err
		}
		child, err := u.s.StateEvent(ctx, v, "m.space.child", u.RoomID)
		if err != nil {
			return err
		}
		if child == nil || len(gjson.GetBytes(child.JSON, "content.via").Array()) == 0 {
			continue
		}
		content := json.RawMessage(gjson.GetBytes(child.JSON, "content").Raw)
		err = u.s.change(ctx, space, func(b *builder) error {
			for _, r := range []EventRequest{
				{Type: "m.space.child", StateKey: &newRoom, Content: content},
				{Type: "m.space.child", StateKey: &u.RoomID, Content: json.RawMessage("{}")},
			} {
				r.RoomID, r.Sender = space, u.User
				if _, err := b.send(r, [16]byte{}, nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil && httpapi.CodeOf(err) != "M_FORBIDDEN" {
			return err
		}
	}
	return nil
}

// maxParents bounds the spaces in which a room is replaced.
const maxParents = 50
