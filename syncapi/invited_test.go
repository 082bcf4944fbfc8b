package syncapi

import (
	"encoding/json"
	"testing"

	"hearth/roomserver"
)

// TestKnocksAndInvites has a knock, its end and an invitation come in their sections of
// /sync, and no invitation to who blocks them.
func TestKnocksAndInvites(t *testing.T) {
	w := newWorld(t)
	bob := w.client("bob")
	bob.sync(0)
	room := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.join_rules", StateKey: new(string), Content: map[string]any{"join_rule": "knock"}},
		roomserver.InitialEvent{Type: "m.room.name", StateKey: new(string), Content: map[string]any{"name": "Den"}})
	w.membership(room, "bob", "bob", "knock")
	knocked := section(bob.sync(0), "knock", room).Get("knock_state.events")
	want(t, "what a knocker is shown", knocked.Get(`#(type=="m.room.name").content.name`).Str, "Den")
	want(t, "their own knock", knocked.Get(`#(type=="m.room.member").content.membership`).Str, "knock")
	w.membership(room, "bob", "bob", "leave")
	want(t, "the end of a knock", bodies(section(bob.sync(0), "leave", room)), "@bob:leave")

	config := "/user/" + id("bob") + "/account_data/m.invite_permission_config"
	w.membership(room, "alice", "bob", "invite")
	w.ok("PUT", config, bob.token, map[string]any{"default_action": "block"})
	want(t, "a blocked invitation", section(bob.sync(0), "invite", room).Raw, "")
	w.ok("PUT", config, bob.token, map[string]any{})
	bob.since = ""
	want(t, "an invitation", section(bob.sync(0), "invite", room).Get("invite_state.events.0").Exists(), true)
	filter := "/user/" + id("bob") + "/account_data/org.matrix.msc4155.invite_permission_config"
	for rules, shown := range map[string]bool{
		`{"ignored_users":["@al*"]}`:                                   false,
		`{"blocked_servers":["*"]}`:                                    false,
		`{"blocked_servers":["*"],"enabled":false}`:                    true,
		`{"blocked_servers":["*"],"allowed_users":["@alic?:*.local"]}`: true,
	} {
		w.ok("PUT", filter, bob.token, json.RawMessage(rules))
		bob.since = ""
		want(t, rules, section(bob.sync(0), "invite", room).Exists(), shown)
	}
}

// TestNewRoomIsWhole has a room that is new to the client come with all that some read without
// looking whether it is there.
func TestNewRoomIsWhole(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice")
	alice := w.client("alice")
	first := joined(alice.sync(0), room)
	for _, path := range []string{"account_data.events", "ephemeral.events", "state.events", "timeline.events"} {
		want(t, path, first.Get(path).IsArray(), true)
	}
	w.say(room, "alice", "hello")
	want(t, "account data that isn't news", joined(alice.sync(0), room).Get("account_data").Exists(), false)
}
