package syncapi

import (
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
	want(t, "the end of a knock", bodies(section(bob.sync(0), "leave", room)), "@bob:knock @bob:leave")

	config := "/user/" + id("bob") + "/account_data/m.invite_permission_config"
	w.membership(room, "alice", "bob", "invite")
	w.ok("PUT", config, bob.token, map[string]any{"default_action": "block"})
	want(t, "a blocked invitation", section(bob.sync(0), "invite", room).Raw, "")
	w.ok("PUT", config, bob.token, map[string]any{})
	bob.since = ""
	want(t, "an invitation", section(bob.sync(0), "invite", room).Get("invite_state.events.0").Exists(), true)
}
