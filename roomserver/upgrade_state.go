package roomserver

import (
	"context"
	"encoding/json"
	"fmt"

	"maps"
	"math"
	"sort"

	"github.com/tidwall/gjson"

	"hearth/internal/canonicaljson"
	"hearth/internal/userid"
)

// carriedTypes is the state that a new room takes over from the one it replaces, apart
// from power levels and what spaces consist of. Who sent it matters for none.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
var carriedTypes = []string{"m.room.join_rules", "m.room.history_visibility", "m.room.guest_access", "m.room.encryption",
	"m.room.server_acl", "m.room.policy", "m.room.name", "m.room.avatar", "m.room.topic"}

// createContent is the content of the new room's m.room.create.
func (u *upgrade) createContent(ctx context.Context) (map[string]any, error) {
	create, err := u.s.StateEvent(ctx, u.old, "m.room.create", "")
	if err != nil || create == nil {
		return nil, fmt.Errorf("reading the create event: %w", err)
	}
	content := map[string]any{}
	gjson.GetBytes(create.JSON, "content").ForEach(func(k, v gjson.Result) bool {
		content[k.Str] = json.RawMessage(v.Raw)
		return true
	})
	delete(content, "additional_creators")
	predecessor := map[string]any{"room_id": u.RoomID}
	if !u.version.DomainlessRoomIDs() { // later ones need no event
		predecessor["event_id"] = u.old.Room.ForwardExtremities[0]
	} else if len(u.AdditionalCreators) > 0 {
		content["additional_creators"] = u.AdditionalCreators
	}
	content["predecessor"] = predecessor
	return content, nil
}

// firstEvents are the new room's, from the user's join on, without the power levels.
func (u *upgrade) firstEvents(ctx context.Context) ([]InitialEvent, error) {
	join, err := u.s.memberContent(ctx, MembershipRequest{Sender: u.User, Target: u.User, Membership: "join"})
	if err != nil {
		return nil, err
	}
	events := []InitialEvent{{"m.room.member", &u.User, join}}
	for _, t := range carriedTypes {
		content, err := u.content(ctx, t, "")
		if err != nil {
			return nil, err
		}
		if content != nil && t == "m.room.join_rules" {
			content = u.joinRules(content)
		}
		if content != nil {
			events = append(events, InitialEvent{t, new(string), content})
		}
	}
	aliases, err := u.content(ctx, "m.room.canonical_alias", "")
	if err != nil {
		return nil, err
	}
	if _, moved := u.s.splitAliases(aliases); moved != nil {
		events = append(events, InitialEvent{"m.room.canonical_alias", new(string), moved})
	}
	return events, nil
}

// content is the content of a piece of the old room's state, nil if there is none or the
// new room's version doesn't take it.
func (u *upgrade) content(ctx context.Context, eventType, stateKey string) (json.RawMessage, error) {
	e, err := u.s.StateEvent(ctx, u.old, eventType, stateKey)
	if err != nil || e == nil {
		return nil, err
	}
	content, err := canonicaljson.Append(nil, []byte(gjson.GetBytes(e.JSON, "content").Raw))
	if err != nil {
		return nil, nil // old versions allow what newer ones don't
	}
	return content, nil
}

// joinRules are the old room's, unless they came with a version later than the new one's.
func (u *upgrade) joinRules(content json.RawMessage) json.RawMessage {
	version := versionNumber(u.version)
	switch rule := gjson.GetBytes(content, "join_rule").Str; {
	case rule == "knock" && version < 7, rule == "restricted" && version < 8, rule == "knock_restricted" && version < 8:
		return json.RawMessage(`{"join_rule":"invite"}`)
	case rule == "knock_restricted" && version < 10:
		return json.RawMessage(`{"allow":` + orEmpty(gjson.GetBytes(content, "allow").Raw) + `,"join_rule":"restricted"}`)
	}
	return content
}

func orEmpty(list string) string {
	if list == "" {
		return "[]"
	}
	return list
}

// laterEvents are those of which there may be many: the rooms of a space, the spaces of a
// room, and who is banned.
func (u *upgrade) laterEvents(ctx context.Context) ([]InitialEvent, error) {
	var nids []int64
	for it := u.old.State.Iterator(); !it.Done(); {
		t, entry, _ := it.Next()
		if t.Type == "m.space.child" || t.Type == "m.space.parent" || t.Type == "m.room.member" && entry.Membership == "ban" {
			nids = append(nids, entry.EventNID)
		}
	}
	found, err := u.s.EventList(ctx, nids)
	if err != nil {
		return nil, err
	}
	var events []InitialEvent
	for _, e := range found {
		content := gjson.GetBytes(e.JSON, "content")
		switch {
		case e.Type == "m.room.member":
			ban := MembershipRequest{Membership: "ban", Reason: content.Get("reason").Str}
			events = append(events, InitialEvent{e.Type, e.StateKey, ban.content()})
		case len(content.Get("via").Array()) > 0: // else it was taken out
			events = append(events, InitialEvent{e.Type, e.StateKey, json.RawMessage(content.Raw)})
		}
	}
	return events, nil
}

// stateKeys are the keys of the old room's state of a type in their order, at most limit
// of them.
func (u *upgrade) stateKeys(eventType string, limit int) []string {
	var keys []string
	for it := u.old.State.Iterator(); !it.Done(); {
		if t, _, _ := it.Next(); t.Type == eventType {
			keys = append(keys, t.StateKey)
		}
	}
	sort.Strings(keys)
	return keys[:min(len(keys), limit)]
}

// levels are the power levels that the new room begins with, and those it ends up with,
// which are nil if they are the same. The user may have had the power to upgrade the room
// but not to set all of its state, and has it until that is done.
func (u *upgrade) levels() (first, final map[string]any) {
	if !u.powers.content.Exists() {
		return nil, nil
	}
	first, highest := cleanLevels(u.powers.content)
	users := first["users"].(map[string]int64)
	if u.version.PrivilegedCreators() { // who stand above all levels and may not be listed
		for _, creator := range append(u.AdditionalCreators, u.User) {
			delete(users, creator)
		}
		if !u.powers.v12 {
			u.keepForCreators(first)
		}
		return first, nil
	}
	if u.powers.v12 {
		for _, creator := range u.powers.creators {
			users[creator] = highest
		}
	}
	return u.raised(first, highest)
}

// cleanLevels is the content of an m.room.power_levels as every version takes it, and the
// highest level in it, which is at least 100. Old versions allow more.
func cleanLevels(content gjson.Result) (levels map[string]any, highest int64) {
	highest = 100
	level := func(v gjson.Result) (n int64, ok bool) {
		const none = math.MinInt64
		n = number(v, none)
		if n == none {
			return 0, false
		}
		highest = max(highest, n)
		return n, true
	}
	levels = map[string]any{"users": map[string]int64{}}
	content.ForEach(func(k, v gjson.Result) bool {
		if !v.IsObject() {
			if n, ok := level(v); ok {
				levels[k.Str] = n
			}
			return true
		}
		group := map[string]int64{}
		v.ForEach(func(who, v gjson.Result) bool {
			_, _, isUser := userid.Split(who.Str)
			if n, ok := level(v); ok && (isUser || k.Str != "users") {
				group[who.Str] = n
			}
			return true
		})
		levels[k.Str] = group
		return true
	})
	return levels, highest
}

// keepForCreators has the next upgrade be the creators' to make: who makes it is above all
// others in the room that comes of it.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
func (u *upgrade) keepForCreators(levels map[string]any) {
	events, _ := levels["events"].(map[string]int64)
	if events == nil {
		events = map[string]int64{}
		levels["events"] = events
	}
	events["m.room.tombstone"] = max(events["m.room.tombstone"], creatorsTombstone)
}

// raised has the user have the highest level in first, if they don't in the end.
func (u *upgrade) raised(levels map[string]any, highest int64) (first, final map[string]any) {
	users := levels["users"].(map[string]int64)
	fallback, _ := levels["users_default"].(int64)
	own, listed := users[u.User]
	if listed && own >= highest || !listed && fallback >= highest {
		return levels, nil
	}
	first = maps.Clone(levels)
	elevated := maps.Clone(users)
	elevated[u.User] = highest
	first["users"] = elevated
	return first, levels
}
