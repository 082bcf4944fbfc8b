package syncapi

import (
	"net/url"
	"testing"

	"hearth/roomserver"
)

// TestStateAfterLeaving has clients for which the timeline doesn't change the state learn from
// state_after how the user's stay, knock or invitation ended, and of nothing that came to pass
// while the user wasn't in the room.
func TestStateAfterLeaving(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.join_rules", StateKey: new(string), Content: map[string]any{"join_rule": "knock"}})
	bob := w.client("bob")
	bob.more = url.Values{"use_state_after": {"true"}}
	bob.filter = `{"room":{"state":{"lazy_load_members":true}}}`
	bob.sync(0)
	own := "m.room.member|" + id("bob")
	topic := func(text string) { w.event(room, "alice", "m.room.topic", new(string), map[string]any{"topic": text}) }
	// ends checks the state that bob is told at the end, besides of his own membership.
	ends := func(what, membership string, more map[string]string) {
		t.Helper()
		left := section(bob.sync(0), "leave", room)
		state := stateOf(left, "state_after")
		want(t, what, state[own], `{"membership":"`+membership+`"}`)
		delete(state, own)
		want(t, what+": the rest", state, more)
	}

	w.membership(room, "bob", "bob", "knock")
	bob.sync(0)
	topic("behind the door")
	w.membership(room, "bob", "bob", "leave")
	ends("a knock taken back", "leave", map[string]string{})

	w.membership(room, "alice", "bob", "invite")
	bob.sync(0)
	w.membership(room, "bob", "bob", "leave")
	ends("an invitation declined", "leave", map[string]string{})

	w.membership(room, "alice", "bob", "invite")
	w.membership(room, "bob", "bob", "join")
	bob.sync(0)
	topic("in his presence")
	w.membership(room, "alice", "bob", "leave")
	topic("behind his back")
	ends("a stay", "leave", map[string]string{"m.room.topic|": `{"topic":"in his presence"}`})

	w.membership(room, "alice", "bob", "invite")
	bob.sync(0)
	topic("while he hesitates")
	w.membership(room, "alice", "bob", "ban")
	ends("an invitation after a stay, ended by a ban", "ban", map[string]string{})

	bob.since = ""
	first := stateOf(section(bob.sync(0), "leave", room), "state_after")
	want(t, "his membership, without a token", first[own], `{"membership":"ban"}`)
	want(t, "the topic that he knew", first["m.room.topic|"], `{"topic":"in his presence"}`)
}
