package e2e

import (
	"net/url"
	"testing"
)

// TestNulFromElsewhere has another server's user write NUL wherever an event may have it, which PostgreSQL's texts can't: the room
// is joined and goes on, and the user is found.
func TestNulFromElsewhere(t *testing.T) {
	one, name := federating(t)
	two, _ := federating(t)
	alice, bob := register(t, one.base, "alice"), register(t, two.base, "bob")
	room := alice.createRoom(t, map[string]any{"preset": "public_chat", "room_alias_name": "odd", "name": "odd\x00name", "topic": "\x00"})
	alice.setState(t, room, "m.room.member", alice.id, map[string]any{"membership": "join", "displayname": "Ann\x00abel", "avatar_url": "\x00"})
	bob.ok(t, "POST", clientV3+"/join/"+url.PathEscape("#odd:"+name), map[string]any{})
	for _, state := range []struct {
		kind    string
		content map[string]any
	}{
		{"m.room.name", map[string]any{"name": "still\x00odd"}}, {"m.room.avatar", map[string]any{"url": "mxc://\x00/a"}},
		{"m.room.history_visibility", map[string]any{"history_visibility": "\x00"}}, {"m.room.encryption", map[string]any{"algorithm": "\x00"}},
	} {
		alice.setState(t, room, state.kind, "", state.content)
	}
	alice.ok(t, "PUT", inRoom(room, "send/m.room.message/1"), map[string]any{"msgtype": "m.text", "body": "\x00",
		"m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": "$\x00"}, "m.mentions": map[string]any{"user_ids": []string{"@\x00:" + name}}})
	last := alice.say(t, room, "the end")
	waitFor(t, "bob sees the end", func() bool { return bob.do(t, "GET", inRoom(room, "event/"+url.PathEscape(last)), nil).status == 200 })
	if got := bob.ok(t, "GET", inRoom(room, "state/m.room.name/"), nil).Get("name").Str; got != "still\x00odd" {
		t.Errorf("the room's name is %q", got)
	}
	found := bob.ok(t, "POST", clientV3+"/user_directory/search", map[string]any{"search_term": "annabel"})
	if found.Get("results.0.user_id").Str != alice.id {
		t.Errorf("found is %s", found.Raw)
	}
	bob.ok(t, "GET", syncPath("", "", 0), nil)
	bob.ok(t, "POST", clientV3+"/publicRooms", map[string]any{"filter": map[string]any{"generic_search_term": "odd"}})
}
