package clientapi

import (
	"net/url"
	"strings"
	"testing"
)

// TestNewRoomsAsked makes rooms with what clients may ask of them, and asks for what can't
// be.
func TestNewRoomsAsked(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	create := func(body object) string { return w.ok("POST", "/createRoom", alice, body)["room_id"].(string) }
	refused := func(code string, body object) {
		t.Helper()
		w.refused(400, code, "POST", "/createRoom", alice, body)
	}
	refused("M_UNSUPPORTED_ROOM_VERSION", object{"room_version": "13"})
	refused("M_BAD_JSON", object{"room_version": 12})
	refused("M_BAD_JSON", object{"preset": "open_house"})
	for _, creators := range []any{"@bob:test.local", []any{"bob"}, []any{5}} {
		refused("M_INVALID_PARAM", object{"creation_content": object{"additional_creators": creators}})
	}
	refused("M_BAD_JSON", object{"creation_content": object{"additional_creators": []string{"@bob:test.local"}},
		"power_level_content_override": object{"users": object{"@bob:test.local": 100}}})
	refused("M_BAD_JSON", object{"power_level_content_override": object{"ban": "fifty"}})
	refused("M_INVALID_ROOM_STATE", object{"room_version": "11", "power_level_content_override": object{"users": object{"@bob:test.local": 100}}, "name": "x"})

	trusted := create(object{"preset": "trusted_private_chat", "invite": []string{"@bob:test.local", "@bob:test.local"},
		"creation_content": object{"room_version": "1", "creator": "@bob:test.local", "additional_creators": []string{"@bob:test.local"}}})
	same(t, "create", w.state(trusted, alice, "m.room.create", ""), object{"room_version": "12", "additional_creators": []any{"@bob:test.local"}})
	same(t, "levels", w.state(trusted, alice, "m.room.power_levels", "")["users"], object{})
	w.ok("POST", "/join/"+trusted, bob, object{})
	w.ok("PUT", "/rooms/"+trusted+"/state/m.room.name", bob, object{"name": "Ours"})
	old := create(object{"preset": "trusted_private_chat", "room_version": "11", "invite": []string{"@bob:test.local"}})
	same(t, "levels", w.state(old, alice, "m.room.power_levels", "")["users"], object{"@alice:test.local": 100, "@bob:test.local": 100})
}

// TestRoomRules asks of a room what its rules refuse, and what the specification has an
// answer of its own for.
func TestRoomRules(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	for _, version := range []string{"10", "11"} {
		room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat", "room_version": version})["room_id"].(string)
		path := "/rooms/" + room
		about := object{"user_id": "@bob:test.local", "reason": "spam"}
		w.refused(403, "M_FORBIDDEN", "POST", path+"/kick", alice, about)
		w.refused(403, "M_FORBIDDEN", "POST", path+"/unban", alice, about)
		w.ok("POST", path+"/invite", alice, about)
		w.ok("POST", path+"/kick", alice, about)
		same(t, "kicked", w.state(room, alice, "m.room.member", "@bob:test.local"), object{"membership": "leave", "reason": "spam"})
		w.ok("POST", path+"/ban", alice, about)
		same(t, "banned", w.state(room, alice, "m.room.member", "@bob:test.local"), object{"membership": "ban", "reason": "spam"})
		w.refused(403, "M_FORBIDDEN", "POST", path+"/invite", alice, about)
		w.refused(403, "M_FORBIDDEN", "POST", "/join/"+room, bob, nil)
		w.ok("POST", path+"/unban", alice, about)
		w.ok("POST", "/join/"+room, bob, nil)
		w.refused(403, "M_FORBIDDEN", "POST", path+"/kick", bob, object{"user_id": "@alice:test.local"})
		w.refused(400, "M_UNKNOWN", "POST", path+"/forget", bob, nil)

		said := w.ok("PUT", path+"/send/m.room.message/a", bob, object{"body": "oops"})["event_id"].(string)
		w.ok("PUT", path+"/send/m.room.redaction/b", bob, object{"redacts": said, "reason": "typo"})
		same(t, "redacted", w.ok("GET", path+"/event/"+said, bob, nil)["content"], object{})
		w.refused(400, "M_BAD_JSON", "PUT", path+"/send/m.room.redaction/c", bob, object{})
		w.refused(404, "M_NOT_FOUND", "PUT", path+"/send/m.room.redaction/d", bob, object{"redacts": "$no"})

		w.refused(413, "M_TOO_LARGE", "PUT", path+"/state/m.room.topic", alice, object{"topic": strings.Repeat("x", 66_000)})
		w.refused(413, "M_TOO_LARGE", "PUT", path+"/state/m.room.topic/"+strings.Repeat("k", 300), alice, object{})
		w.refused(400, "M_BAD_ALIAS", "PUT", path+"/state/m.room.canonical_alias", alice, object{"alias": "#no:test.local"})
		w.refused(400, "M_BAD_ALIAS", "PUT", path+"/state/m.room.canonical_alias", alice, object{"alt_aliases": []string{"#no:test.local"}})
		w.refused(400, "M_INVALID_PARAM", "PUT", path+"/state/m.room.canonical_alias", alice, object{"alt_aliases": []string{"no"}})
		w.refused(403, "M_FORBIDDEN", "PUT", path+"/state/m.room.power_levels", bob, object{"users": object{"@bob:test.local": 100}})
	}
}

// TestMembersThen lists a room's members as of tokens of /sync and /messages: at its
// beginning who has made it is in it already.
func TestMembersThen(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	w.refused(404, "M_NOT_FOUND", "GET", "/rooms/"+room+"/state/m.room.guest_access", alice, nil)
	page := w.ok("GET", "/rooms/"+room+"/messages?dir=b&limit=2", alice, nil)
	w.ok("POST", "/join/"+room, bob, nil)
	members := func(at string) (list []any) {
		t.Helper()
		for _, e := range w.ok("GET", "/rooms/"+room+"/members?at="+at, alice, nil)["chunk"].([]any) {
			list = append(list, e.(object)["state_key"])
		}
		return list
	}
	same(t, "before bob came", members(page["start"].(string)), []any{"@alice:test.local"})
	same(t, "in the beginning", members("t0_0"), []any{"@alice:test.local"})
	if now := w.ok("GET", "/rooms/"+room+"/members", alice, nil)["chunk"].([]any); len(now) != 2 {
		t.Errorf("the members are %v", now)
	}
}

// TestEnds pages to both ends of a room. What is said next comes after the newest page, and after
// what a filter leaves it isn't seen that there is nothing more.
func TestEnds(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	said := w.ok("PUT", "/rooms/"+room+"/send/m.room.message/1", alice, object{"msgtype": "m.text", "body": "hello"})["event_id"]
	page := func(query string) object {
		t.Helper()
		return w.ok("GET", "/rooms/"+room+"/messages?"+query, alice, nil)
	}
	messages := "&filter=" + url.QueryEscape(`{"types":["m.room.message"]}`)
	for _, query := range []string{"dir=f&limit=100", "dir=f" + messages, "dir=b" + messages} {
		first := page(query)
		if chunk := first["chunk"].([]any); len(chunk) == 0 || first["end"] == nil {
			t.Fatalf("%s: %v", query, first)
		}
		if last := page(query + "&from=" + first["end"].(string)); len(last["chunk"].([]any)) != 0 || last["end"] != nil {
			t.Errorf("%s: and then %v", query, last)
		}
	}
	if first := page("dir=f" + messages)["chunk"].([]any); first[0].(object)["event_id"] != said {
		t.Errorf("the message is %v", first)
	}
	if all := page("dir=b&limit=100"); all["end"] != nil {
		t.Errorf("before the room's beginning there is %v", all["end"])
	}
}

// TestNobodyThere: whoever was invited by somebody who has left since is told that the room is empty.
func TestNobodyThere(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	room := w.ok("POST", "/createRoom", alice, object{"invite": []string{"@bob:test.local"}})["room_id"].(string)
	w.ok("POST", "/rooms/"+room+"/leave", alice, object{})
	w.refused(404, "M_NOT_FOUND", "POST", "/rooms/"+room+"/join", bob, object{})
	w.ok("POST", "/rooms/"+room+"/leave", bob, object{})
}
