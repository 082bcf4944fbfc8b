package clientapi

import (
	"fmt"
	"net/url"
	"testing"

	"hearth/storage"
)

// state returns a piece of a room's state.
func (w *world) state(room, token, eventType, key string) object {
	w.t.Helper()
	return w.ok("GET", "/rooms/"+room+"/state/"+eventType+"/"+url.PathEscape(key), token, nil)
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestUpgrade upgrades a room of an old version in a space: what moves, what stays, who may
// talk and come in where, and what becomes of a member's own settings.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob, carol := w.register("alice"), w.register("bob"), w.register("carol")
	space := w.ok("POST", "/createRoom", alice, object{"creation_content": object{"type": "m.space"}})["room_id"].(string)
	old := w.ok("POST", "/createRoom", alice, object{"room_version": "9", "preset": "public_chat", "visibility": "public",
		"room_alias_name": "lab", "name": "Lab", "topic": "Work", "creation_content": object{"m.federate": false},
		"power_level_content_override": object{"users": object{"@alice:test.local": 100, "@bob:test.local": 100}},
		"initial_state": []object{{"type": "m.space.parent", "state_key": space, "content": object{"via": []string{"test.local"}}},
			{"type": "org.example.widget", "state_key": "", "content": object{"a": 1}}}})["room_id"].(string)
	w.ok("PUT", "/rooms/"+space+"/state/m.space.child/"+old, alice, object{"via": []string{"test.local"}, "order": "a"})
	w.ok("POST", "/join/"+old, bob, object{})
	w.ok("POST", "/rooms/"+old+"/ban", alice, object{"user_id": "@carol:test.local", "reason": "spam"})
	w.ok("PUT", "/pushrules/global/room/"+old, bob, object{"actions": []any{}})
	w.ok("PUT", "/pushrules/global/override/quiet", bob, object{"actions": []any{}, "conditions": []object{
		{"kind": "event_match", "key": "room_id", "pattern": old}}})
	if err := w.db.Stream.Append(background(t), &storage.Change{AccountData: []storage.AccountData{
		{UserID: "@bob:test.local", RoomID: old, Type: "m.tag", Content: []byte(`{"tags":{"m.favourite":{}}}`)},
		{UserID: "@bob:test.local", Type: "m.direct", Content: []byte(`{"@alice:test.local":["` + old + `"]}`)}}}); err != nil {
		t.Fatal(err)
	}

	w.refused(400, "M_UNSUPPORTED_ROOM_VERSION", "POST", "/rooms/"+old+"/upgrade", alice, object{"new_version": "99"})
	w.refused(400, "M_MISSING_PARAM", "POST", "/rooms/"+old+"/upgrade", alice, object{})
	w.refused(400, "M_INVALID_PARAM", "POST", "/rooms/"+old+"/upgrade", alice, object{"new_version": "12", "additional_creators": []string{"bob"}})
	w.refused(403, "M_FORBIDDEN", "POST", "/rooms/"+old+"/upgrade", carol, object{"new_version": "12"})
	w.refused(403, "M_FORBIDDEN", "POST", "/rooms/!nowhere:test.local/upgrade", alice, object{"new_version": "12"})
	room := w.ok("POST", "/rooms/"+old+"/upgrade", alice, object{"new_version": "12", "additional_creators": []string{"@bob:test.local"}})["replacement_room"].(string)

	same(t, "tombstone", w.state(old, bob, "m.room.tombstone", "")["replacement_room"], room)
	create := w.state(room, alice, "m.room.create", "")
	same(t, "create", create, object{"room_version": "12", "m.federate": false, "predecessor": object{"room_id": old}, "additional_creators": []any{"@bob:test.local"}})
	same(t, "name", w.state(room, alice, "m.room.name", "")["name"], "Lab")
	same(t, "topic", w.state(room, alice, "m.room.topic", "")["topic"], "Work")
	same(t, "alias", w.state(room, alice, "m.room.canonical_alias", "")["alias"], "#lab:test.local")
	same(t, "old alias", w.state(old, alice, "m.room.canonical_alias", ""), object{})
	same(t, "directory", w.ok("GET", "/directory/room/%23lab:test.local", "", nil)["room_id"], room)
	same(t, "listed", w.ok("GET", "/directory/list/room/"+room, "", nil)["visibility"], "public")
	same(t, "old listed", w.ok("GET", "/directory/list/room/"+old, "", nil)["visibility"], "private")
	w.refused(404, "M_NOT_FOUND", "GET", "/rooms/"+room+"/state/org.example.widget", alice, nil)
	levels := w.state(room, alice, "m.room.power_levels", "")
	same(t, "users", levels["users"], object{})
	same(t, "tombstone level", levels["events"].(object)["m.room.tombstone"], 150)
	same(t, "banned", w.state(room, alice, "m.room.member", "@carol:test.local"), object{"membership": "ban", "reason": "spam"})
	w.refused(403, "M_FORBIDDEN", "POST", "/join/"+room, carol, object{})
	same(t, "in the space", w.state(space, alice, "m.space.child", room)["order"], "a")
	same(t, "no longer in the space", w.state(space, alice, "m.space.child", old), object{})
	oldLevels := w.state(old, alice, "m.room.power_levels", "")
	same(t, "talking in the old room", oldLevels["events_default"], 50)
	same(t, "inviting to the old room", oldLevels["invite"], 50)

	same(t, "creator's membership", w.state(room, alice, "m.room.member", "@bob:test.local")["membership"], "invite")
	w.ok("POST", "/join/"+room, bob, object{})
	w.ok("GET", "/pushrules/global/room/"+room, bob, nil)
	quiet := w.ok("GET", "/pushrules/global/override/quiet_"+url.PathEscape(room), bob, nil)
	same(t, "condition", quiet["conditions"].([]any)[0].(object)["pattern"], room)
	tags, err := w.db.GetAccountData(background(t), "@bob:test.local", room, "m.tag")
	same(t, "tags", string(tags), `{"tags":{"m.favourite":{}}}`)
	direct, err2 := w.db.GetAccountData(background(t), "@bob:test.local", "", "m.direct")
	same(t, "direct chats", string(direct), `{"@alice:test.local":["`+old+`","`+room+`"]}`)
	if err != nil || err2 != nil {
		t.Error(err, err2)
	}
}

// TestUpgradeWithoutAllPower has a moderator upgrade a room, who may send a tombstone and
// little else, and then a creator go back to a version without creators' power.
func TestUpgradeWithoutAllPower(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	old := w.ok("POST", "/createRoom", alice, object{"room_version": "10", "preset": "public_chat", "name": "Lab",
		"initial_state": []object{{"type": "m.room.join_rules", "content": object{"join_rule": "knock_restricted", "allow": []any{}}}},
		"power_level_content_override": object{"users": object{"@alice:test.local": 100, "@bob:test.local": 30},
			"events": object{"m.room.tombstone": 30, "m.room.name": 90}}, "invite": []string{"@bob:test.local"}})["room_id"].(string)
	w.ok("POST", "/join/"+old, bob, object{})
	room := w.ok("POST", "/rooms/"+old+"/upgrade", bob, object{"new_version": "8", "additional_creators": []string{"@alice:test.local"}})["replacement_room"].(string)
	same(t, "name", w.state(room, bob, "m.room.name", "")["name"], "Lab")
	same(t, "join rule", w.state(room, bob, "m.room.join_rules", "")["join_rule"], "restricted")
	same(t, "levels", w.state(room, bob, "m.room.power_levels", "")["users"], object{"@alice:test.local": 100, "@bob:test.local": 30})
	if w.state(room, bob, "m.room.create", "")["predecessor"].(object)["event_id"] == nil {
		t.Error("the predecessor names no event")
	}
	w.ok("PUT", "/rooms/"+old+"/send/m.room.message/1", alice, object{"body": "still here"})

	newest := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat", "creation_content": object{"additional_creators": []string{"@bob:test.local"}}})["room_id"].(string)
	w.ok("POST", "/join/"+newest, bob, object{})
	room = w.ok("POST", "/rooms/"+newest+"/upgrade", bob, object{"new_version": "11"})["replacement_room"].(string)
	same(t, "levels", w.state(room, bob, "m.room.power_levels", "")["users"], object{"@alice:test.local": 150, "@bob:test.local": 150})
}
