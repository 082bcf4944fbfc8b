package federationapi

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hearth/roomserver"
)

// impatient starts a server's sending anew, with short pauses between attempts to get a
// room's members.
func (h *hearth) impatient(patience time.Duration) *API {
	h.t.Helper()
	h.api.StopSending()
	again := New(h.api.o)
	again.members.pause, again.members.patience = 10*time.Millisecond, patience
	if err := again.StartSending(background(h.t)); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(again.StopSending)
	return again
}

// TestLiesAboutMembers has the only server that knows who is in a room tell nonsense, and
// hang up, before it tells the truth: nothing of the nonsense counts.
func TestLiesAboutMembers(t *testing.T) {
	all, room, bob, release := halfJoined(t, 2)
	defer release()
	one, two := all[0], all[1]
	other := one.room("11")
	ids := func(room string, without string) (ids []string) {
		for it := one.view(room).State.Iterator(); !it.Done(); {
			if t, e, _ := it.Next(); t.Type != without {
				ids = append(ids, e.EventID)
			}
		}
		return ids
	}
	var unknown []string
	for n := range 50 {
		unknown = append(unknown, fmt.Sprintf("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%05d", n))
	}
	told := []any{
		"nonsense", object{}, object{"pdu_ids": []int{1, 2}}, object{"pdu_ids": unknown, "auth_chain_ids": unknown},
		object{"pdu_ids": ids(other, ""), "auth_chain_ids": ids(other, "")},
		object{"pdu_ids": ids(room, "m.room.create"), "auth_chain_ids": []string{}}, nil,
	}
	var asked atomic.Int64
	lie := func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		n := int(asked.Add(1) - 1)
		switch {
		case !strings.Contains(r.URL.Path, "/state_ids/") || n >= len(told):
			asked.Add(-1)
			server.ServeHTTP(w, r)
		case told[n] == nil:
			panic(http.ErrAbortHandler)
		default:
			lies{"/state_ids/": func(*http.Request) any { return told[n] }}.front(w, r, server)
		}
	}
	one.front.Store(&lie)
	two.impatient(time.Hour)
	said := two.say(room, bob, "among liars")
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Fatal(err)
	}
	if n := int(asked.Load()); n < len(told) {
		t.Errorf("only %d answers were wanted", n)
	}
	eventually(t, "that the servers agree", func() bool { return two.state(room) == one.state(room) })
	same(t, "what bob hears", two.heard(room), "among liars")
	if before := two.stateBefore(two.event(room, said)); len(before) != two.view(room).State.Len() {
		t.Errorf("before bob spoke the state had %d events, now it has %d", len(before), two.view(room).State.Len())
	}
}

// TestLeftBeforeMembers has a user leave a room before its members are known, and join it
// again: what is told of the first join doesn't complete the second.
func TestLeftBeforeMembers(t *testing.T) {
	all, room, bob, release := halfJoined(t, 2)
	one, two := all[0], all[1]
	first := two.view(room).Room.Partial.JoinID
	two.member(room, bob, "leave")
	eventually(t, "that the leave arrives", func() bool { return one.membership(room, bob) == "leave" })
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Errorf("who has left waits: %v", err)
	}
	if err := two.rooms.Complete(background(t), room, "$another", []roomserver.Told{{State: []string{"$nonsense"}}}); err != nil || !two.view(room).Room.IsPartial() {
		t.Errorf("the state before another join completes the room: %v", err)
	}
	if err := two.rooms.Complete(background(t), room, first, nil); err == nil {
		t.Error("nothing completes the room")
	}
	two.enter(room, bob, one)
	release()
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Fatal(err)
	}
	if two.state(room) != one.state(room) {
		t.Errorf("the servers don't agree:\n%s\n%s", two.state(room), one.state(room))
	}
}

// TestGivingUpMembers has two users of a server leave a room again whose members nobody told
// before the server was started anew; who is only invited stays so.
func TestGivingUpMembers(t *testing.T) {
	all, room, bob, release := halfJoined(t, 2)
	defer release()
	one, two := all[0], all[1]
	zoe, yann := two.user("zoe"), two.user("yann")
	two.enter(room, zoe, one)
	two.send(room, zoe, "m.room.message", nil, object{"msgtype": "m.text", "body": "is anybody here?"})
	if err := one.api.Invite(background(t), roomserver.MembershipRequest{RoomID: room, Sender: "@alice:" + one.name, Target: yann, Membership: "invite"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that yann is invited", func() bool { return two.membership(room, yann) == "invite" })
	one.denyState()
	again := two.impatient(0)
	for _, user := range []string{bob, zoe} {
		eventually(t, "that "+user+" leaves", func() bool { return two.membership(room, user) == "leave" })
		eventually(t, "that others see it", func() bool { return one.membership(room, user) == "leave" })
	}
	eventually(t, "that nobody asks any more", func() bool {
		again.members.mu.Lock()
		defer again.members.mu.Unlock()
		return len(again.members.rooms) == 0
	})
	if two.membership(room, yann) != "invite" {
		t.Errorf("yann is %q", two.membership(room, yann))
	}
}

// TestManyMemberless has a server be in many rooms without their members: they are asked for
// in few rooms at a time, and a thousand such rooms need no thousand goroutines.
func TestManyMemberless(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	two.startSending()
	bob := two.user("bob")
	var now, most atomic.Int64
	count := func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		if strings.Contains(r.URL.Path, "/state_ids/") {
			n := now.Add(1)
			defer now.Add(-1)
			for old := most.Load(); old < n && !most.CompareAndSwap(old, n); {
				old = most.Load()
			}
			time.Sleep(20 * time.Millisecond)
		}
		server.ServeHTTP(w, r)
	}
	one.front.Store(&count)
	var rooms []string
	for range 20 {
		room, err := one.rooms.CreateRoom(background(t), roomserver.CreateRoomRequest{Creator: "@alice:" + one.name, Version: "12", Preset: "public_chat"})
		if err != nil {
			t.Fatal(err)
		}
		rooms = append(rooms, room)
		two.enter(room, bob, one)
	}
	before := runtime.NumGoroutine()
	for n := range 1000 {
		two.api.members.ask(fmt.Sprintf("!gone%d:%s", n, one.name))
	}
	if n := runtime.NumGoroutine(); n > before+maxMemberAsks+10 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	for _, room := range rooms {
		if err := two.rooms.WaitForMembers(background(t), room); err != nil {
			t.Fatal(err)
		}
	}
	if n := most.Load(); n > maxMemberAsks {
		t.Errorf("%d rooms are asked for at once", n)
	}
}

// TestInvitedBeforeMembers has somebody be invited from afar before another of their server
// joins without its members being known: both hear what is said next.
func TestInvitedBeforeMembers(t *testing.T) {
	all := newHearths(t, 2, nil)
	for _, h := range all {
		h.startSending()
	}
	one, two := all[0], all[1]
	room, bob, yann := one.room("12"), two.user("bob"), two.user("yann")
	if err := one.api.Invite(background(t), roomserver.MembershipRequest{RoomID: room, Sender: "@alice:" + one.name, Target: yann, Membership: "invite"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that yann is invited", func() bool { return two.membership(room, yann) == "invite" })
	release := one.holdState()
	two.enter(room, bob, one)
	one.say(room, "@alice:"+one.name, "hello")
	eventually(t, "that bob hears alice", func() bool { return slices.Contains(two.heard(room), "hello") })
	release()
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Fatal(err)
	}
	one.say(room, "@alice:"+one.name, "and now?")
	eventually(t, "that bob hears alice again", func() bool { return slices.Contains(two.heard(room), "and now?") })
	if two.state(room) != one.state(room) {
		t.Errorf("the servers don't agree:\n%s\n%s", two.state(room), one.state(room))
	}
}

// TestInvitedMeanwhile has somebody be invited into a room whose members aren't known yet: both
// sides go on hearing each other.
func TestInvitedMeanwhile(t *testing.T) {
	all, room, bob, release := halfJoined(t, 2)
	one, two := all[0], all[1]
	yann := two.user("yann")
	if err := one.api.Invite(background(t), roomserver.MembershipRequest{RoomID: room, Sender: "@alice:" + one.name, Target: yann, Membership: "invite"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that yann is invited", func() bool { return two.membership(room, yann) == "invite" })
	one.say(room, "@alice:"+one.name, "hello")
	eventually(t, "that bob hears alice", func() bool { return slices.Contains(two.heard(room), "hello") })
	two.say(room, bob, "hi")
	eventually(t, "that alice hears bob", func() bool { return slices.Contains(one.heard(room), "hi") })
	release()
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Fatal(err)
	}
	one.say(room, "@alice:"+one.name, "and now?")
	eventually(t, "that bob hears alice again", func() bool { return slices.Contains(two.heard(room), "and now?") })
	if two.state(room) != one.state(room) {
		t.Errorf("the servers don't agree:\n%s\n%s", two.state(room), one.state(room))
	}
}
