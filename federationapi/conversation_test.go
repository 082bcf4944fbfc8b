package federationapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
	"hearth/storage"
)

// startSending has the server send to others until the test ends.
func (h *hearth) startSending() {
	h.t.Helper()
	if err := h.api.StartSending(background(h.t)); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(h.api.StopSending)
}

// join has a user of h join a room by another server, which tells who is in it.
func (h *hearth) join(room, user string, via *hearth) {
	h.t.Helper()
	h.enter(room, user, via)
	if err := h.rooms.WaitForMembers(background(h.t), room); err != nil {
		h.t.Fatal(err)
	}
}

// enter is join before it is known who is in the room.
func (h *hearth) enter(room, user string, via *hearth) {
	h.t.Helper()
	r := roomserver.MembershipRequest{RoomID: room, Sender: user, Target: user, Membership: "join"}
	content, err := h.rooms.MemberContent(background(h.t), r)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.api.Join(background(h.t), room, user, []string{via.name}, content); err != nil {
		h.t.Fatal(err)
	}
}

// heard are the bodies of the messages in the room's timeline.
func (h *hearth) heard(room string) (list []string) {
	h.t.Helper()
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		h.t.Fatal(err)
	}
	events, err := h.db.TimelineAfter(background(h.t), v.Room.NID, storage.Place{}, storage.Place{Position: 1 << 60}, 10_000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range events {
		if e.Type == "m.room.message" {
			list = append(list, gjson.GetBytes(e.JSON, "content.body").Str)
		}
	}
	return list
}

// state is the room's state, comparable between servers.
func (h *hearth) state(room string) string {
	h.t.Helper()
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		h.t.Fatal(err)
	}
	var list []string
	for it := v.State.Iterator(); !it.Done(); {
		t, e, _ := it.Next()
		list = append(list, fmt.Sprint(t.Type, " ", t.StateKey, " ", e.EventID, " ", e.Membership))
	}
	slices.Sort(list)
	text, _ := json.MarshalIndent(list, "", " ") // strings always marshal
	return string(text)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s doesn't come true", what)
		}
	}
}

// TestConversation has people of three servers meet in a room, talk at the same
// time, change its state, and leave.
func TestConversation(t *testing.T) {
	for _, version := range []string{"1", "4", "10", "12"} {
		t.Run(version, func(t *testing.T) { conversation(t, version) })
	}
}

func conversation(t *testing.T, version string) {
	all := newHearths(t, 3, nil)
	one, two, three := all[0], all[1], all[2]
	for _, h := range all {
		h.startSending()
	}
	alice, bob, carol := "@alice:"+one.name, "@bob:"+two.name, "@carol:"+three.name
	room := one.room(version)
	one.say(room, alice, "is anybody there?")
	two.join(room, bob, one)
	two.say(room, bob, "I am")
	eventually(t, "that alice hears bob", func() bool { return slices.Contains(one.heard(room), "I am") })
	three.join(room, carol, two)
	eventually(t, "that alice sees carol", func() bool {
		v, err := one.rooms.View(background(t), room)
		return err == nil && v.Membership(carol) == "join"
	})
	const each = 15
	for n := range each {
		one.say(room, alice, fmt.Sprint("alice ", n))
		two.say(room, bob, fmt.Sprint("bob ", n))
		three.say(room, carol, fmt.Sprint("carol ", n))
	}
	one.send(room, alice, "m.room.topic", new(""), object{"topic": "everything"})
	three.say(room, carol, "what a topic")
	for _, h := range all {
		eventually(t, "that everybody hears everything", func() bool {
			n := 0
			for _, body := range h.heard(room) {
				var who string
				var i int
				if _, err := fmt.Sscanf(body, "%s %d", &who, &i); err == nil {
					n++
				}
			}
			return n == 3*each && slices.Contains(h.heard(room), "what a topic")
		})
	}
	eventually(t, "that all agree on the state", func() bool {
		return one.state(room) == two.state(room) && two.state(room) == three.state(room)
	})
	two.member(room, bob, "leave")
	for _, h := range all {
		eventually(t, "that all see bob leave", func() bool {
			v, err := h.rooms.View(background(t), room)
			return err == nil && v.Membership(bob) == "leave"
		})
	}
}

// TestPassedOn has a server that sends nothing by itself join a room by way of another:
// the third learns of it from that one.
func TestPassedOn(t *testing.T) {
	all := newHearths(t, 3, nil)
	one, two, three := all[0], all[1], all[2]
	for _, h := range []*hearth{one, two} {
		h.startSending()
	}
	bob, carol := "@bob:"+two.name, "@carol:"+three.name
	room := one.room("11")
	two.join(room, bob, one)
	three.join(room, carol, two)
	eventually(t, "that the first server sees carol", func() bool {
		v, err := one.rooms.View(background(t), room)
		return err == nil && v.Membership(carol) == "join"
	})
}

// TestJoinIsPassedOnOnce has a user join by way of another server, which sends the join to
// all others: the user's own server sends what they say afterwards, and nothing before.
func TestJoinIsPassedOnOnce(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	two.startSending()
	bob, dave, room := two.user("bob"), two.user("dave"), one.room("12")
	two.join(room, bob, one)
	two.join(room, dave, one) // by way of the other server though this one is in the room
	said := two.say(room, bob, "hello")
	eventually(t, "that bob is heard", func() bool { return len(one.heard(room)) == 1 })
	now := two.db.Stream.Position()
	sent, known := two.api.sender.tail.between(0, now)
	sent = slices.DeleteFunc(sent, func(o *outgoing) bool { return o.arrival != nil }) // which isn't sent itself
	if !known || len(sent) != 1 || sent[0].event.ID != said {
		t.Errorf("what is sent is %d things: %v", len(sent), known)
	}
	events, err := two.db.EventsBySendersOf(background(t), two.name, 0, now, 10)
	if err != nil || len(events) != 1 || events[0].ID != said {
		t.Errorf("what would be sent after an outage is %v: %v", events, err)
	}
}
