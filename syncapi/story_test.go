package syncapi

import (
	"fmt"
	"testing"
	"time"

	"hearth/roomserver"
)

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestConversation takes two people through a room: first syncs, new messages, a
// gap, a long poll, a restart, and one of them leaving.
func TestConversation(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.client("alice"), w.client("bob")
	want(t, "rooms of somebody new", alice.sync(0).Get("rooms").Exists(), false)
	room := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.name", StateKey: new(""), Content: map[string]any{"name": "Lab"}})
	bob.sync(0)
	w.join(room, "bob")
	w.say(room, "alice", "one")

	first := joined(alice.sync(0), room)
	want(t, "alice's room", bodies(first), "create @alice:join power_levels join_rules name @bob:join one")
	want(t, "its state", len(stateOf(first, "state")), 0)
	want(t, "limited, as rooms are that one comes to", first.Get("timeline.limited").Bool(), true)
	want(t, "members", first.Get(`summary.m\.joined_member_count`).Int(), 2)
	second := joined(bob.sync(0), room)
	want(t, "bob's room", bodies(second), "create @alice:join power_levels join_rules name @bob:join one")
	want(t, "bob's unread", second.Get("unread_notifications.notification_count").Int(), 1)

	// Nothing new: nothing told. Then a gap.
	want(t, "nothing new", alice.sync(0).Get("rooms").Exists(), false)
	for i := range 30 {
		w.say(room, "bob", fmt.Sprint(i))
	}
	w.event(room, "alice", "m.room.topic", new(""), map[string]any{"topic": "gaps"})
	for i := range 10 {
		w.say(room, "bob", fmt.Sprint(30+i))
	}
	gap := joined(alice.sync(0), room)
	want(t, "after the gap", bodies(gap), "30 31 32 33 34 35 36 37 38 39")
	want(t, "limited", gap.Get("timeline.limited").Bool(), true)
	want(t, "state of the gap", stateOf(gap, "state"), map[string]string{"m.room.topic|": `{"topic":"gaps"}`})

	// A long poll ends with the message it waited for.
	done := make(chan string, 1)
	go func() { done <- bodies(joined(alice.sync(time.Minute), room)) }()
	time.Sleep(20 * time.Millisecond)
	w.say(room, "bob", "wake up")
	want(t, "the long poll", <-done, "wake up")

	// A new process knows no less.
	w = w.restart()
	alice.w, bob.w = w, w
	w.say(room, "alice", "after the restart")
	want(t, "alice, after a restart", bodies(joined(alice.sync(0), room)), "after the restart")
	missed := joined(bob.sync(0), room)
	want(t, "bob, after a restart", bodies(missed), "31 32 33 34 35 36 37 38 39 wake up after the restart"[3:])
	want(t, "bob's state", stateOf(missed, "state"), map[string]string{"m.room.topic|": `{"topic":"gaps"}`})

	w.membership(room, "bob", "bob", "leave")
	w.say(room, "alice", "behind his back")
	left := bob.sync(0)
	want(t, "still joined", joined(left, room).Exists(), false)
	want(t, "what bob sees of leaving", bodies(section(left, "leave", room)), "@bob:leave")
	want(t, "the room, later", bob.sync(0).Get("rooms").Exists(), false)
	want(t, "alice sees", bodies(joined(alice.sync(0), room)), "@bob:leave behind his back")
}

// TestInvitations follows invitations, rejections, bans and forgetting: a room is
// in exactly one section, and each change wakes whom it concerns.
func TestInvitations(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.name", StateKey: new(""), Content: map[string]any{"name": "Lab"}})
	w.say(room, "alice", "secret")
	bob := w.client("bob")
	bob.sync(0)
	step := func(by, membership, wantSection, wantText string) {
		t.Helper()
		done := make(chan string, 1)
		go func() {
			answer := bob.sync(time.Minute)
			got := ""
			for _, name := range []string{"join", "invite", "knock", "leave"} {
				s := section(answer, name, room)
				if !s.Exists() {
					continue
				}
				got += name + ": " + bodies(s)
				for _, e := range s.Get("invite_state.events").Array() {
					got += short(e) + " "
				}
			}
			done <- got
		}()
		time.Sleep(20 * time.Millisecond)
		w.membership(room, by, "bob", membership)
		want(t, by+" sets "+membership, <-done, wantSection+": "+wantText)
	}
	step("alice", "invite", "invite", "create name join_rules @alice:join @bob:invite ")
	step("bob", "leave", "leave", "@bob:leave")
	step("alice", "invite", "invite", "create name join_rules @alice:join @bob:invite ")
	step("bob", "join", "join", "create @alice:join power_levels join_rules name secret @bob:invite @bob:leave @bob:invite @bob:join")
	step("alice", "ban", "leave", "@bob:ban")
	w.say(room, "alice", "unheard")

	// Who comes back without a token learns of the ban, if not of rooms left by themselves.
	want(t, "a ban without a token", bodies(section(w.client("bob").sync(0), "leave", room)),
		"@alice:join power_levels join_rules name secret @bob:invite @bob:leave @bob:invite @bob:join @bob:ban")

	all := w.client("bob")
	all.filter = `{"room":{"include_leave":true,"timeline":{"limit":2}}}`
	archive := section(all.sync(0), "leave", room)
	want(t, "archived", bodies(archive), "@bob:join @bob:ban")
	want(t, "its name", stateOf(archive, "state")["m.room.name|"], `{"name":"Lab"}`)
	nid := viewOf(t, w, room).Room.NID
	if err := w.db.Forget(t.Context(), nid, id("bob")); err != nil {
		t.Fatal(err)
	}
	all.since = ""
	want(t, "forgotten", all.sync(0).Get("rooms").Exists(), false)
	w.membership(room, "alice", "bob", "leave")
	w.join(room, "bob")
	all.sync(0)
	w.membership(room, "bob", "bob", "leave")
	if err := w.db.Forget(t.Context(), nid, id("bob")); err != nil {
		t.Fatal(err)
	}
	want(t, "forgotten at once", bodies(section(all.sync(0), "leave", room)), "@bob:leave")
}

func viewOf(t *testing.T, w *world, room string) *roomserver.View {
	t.Helper()
	v, err := w.rooms.View(t.Context(), room)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestStateOfOneBatch commits many state changes of one room at once, as the
// stream does under load: each must reach the room's view.
func TestStateOfOneBatch(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice")
	watcher := w.client("alice")
	watcher.sync(0)
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprint("guest", i))
	}
	done := make(chan struct{})
	for _, name := range names {
		go func() { w.join(room, name); done <- struct{}{} }()
	}
	for range names {
		<-done
	}
	fresh := w.client("alice")
	got := joined(fresh.sync(0), room)
	want(t, "members", got.Get(`summary.m\.joined_member_count`).Int(), 41)
	all := stateOf(got, "state")
	for _, e := range got.Get("timeline.events").Array() {
		all[e.Get("type").Str+"|"+e.Get("state_key").Str] = ""
	}
	want(t, "state and timeline together", len(all), 44)
}

// TestBudget has more people sync than the budget holds: the least recent are
// forgotten, and go on from their tokens as if nothing had been.
func TestBudget(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice")
	var clients []*client
	for i := range 30 {
		name := fmt.Sprint("guest", i)
		w.join(room, name)
		c := w.client(name)
		c.sync(0)
		clients = append(clients, c)
	}
	h := w.api.hub
	h.mu.Lock()
	h.o.CacheBytes = 30_000
	h.mu.Unlock()
	h.forgetIdle(0)
	h.mu.RLock()
	users, standing := len(h.users), h.standing
	h.mu.RUnlock()
	if users == 0 || users > 10 || standing > 15_000 {
		t.Errorf("%d users taking %d bytes are kept", users, standing)
	}
	w.say(room, "alice", "still here?")
	for _, c := range clients {
		events := joined(c.sync(0), room).Get("timeline.events").Array()
		if len(events) == 0 || events[len(events)-1].Get("content.body").Str != "still here?" {
			t.Errorf("%s heard %v", c.name, events)
		}
	}
}
