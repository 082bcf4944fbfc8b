package federationapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/federationapi/client"
	"hearth/roomserver"
	"hearth/storage"
)

// holdState has a server keep the states that it is asked for to itself until the test says
// otherwise.
func (h *hearth) holdState() (release func()) {
	released := make(chan struct{})
	front := func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		if strings.Contains(r.URL.Path, "/state") {
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		}
		server.ServeHTTP(w, r)
	}
	h.front.Store(&front)
	return func() { close(released) }
}

// denyState has a server tell nobody any state.
func (h *hearth) denyState() {
	front := func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		if strings.Contains(r.URL.Path, "/state") {
			http.Error(w, `{"errcode":"M_FORBIDDEN","error":"no"}`, http.StatusForbidden)
			return
		}
		server.ServeHTTP(w, r)
	}
	h.front.Store(&front)
}

func (h *hearth) view(room string) *roomserver.View {
	h.t.Helper()
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// halfJoined is a room of one's in which two's bob is without its members being known
// there. carol and elsie of one are in it, and dave was.
func halfJoined(t *testing.T, n int) (all []*hearth, room, bob string, release func()) {
	t.Helper()
	all = newHearths(t, n, nil)
	for _, h := range all[:2] {
		h.startSending()
	}
	one, two := all[0], all[1]
	room, bob = one.room("10"), two.user("bob")
	for _, name := range []string{"carol", "dave", "elsie"} {
		one.member(room, one.user(name), "join")
	}
	one.send(room, "@alice:"+one.name, "m.room.power_levels", new(""),
		object{"users": object{"@alice:" + one.name: 100, "@dave:" + one.name: 100}, "users_default": 0})
	one.member(room, "@dave:"+one.name, "leave")
	release = one.holdState()
	two.enter(room, bob, one)
	return all, room, bob, release
}

// TestMembersComeLater has a user join a room, talk in it at once, and learn who is in it
// when the other server says so, though the own server was started anew meanwhile.
func TestMembersComeLater(t *testing.T) {
	all, room, bob, release := halfJoined(t, 3)
	one, two, three := all[0], all[1], all[2]
	carol, elsie := "@carol:"+one.name, "@elsie:"+one.name
	v := two.view(room)
	if !two.rooms.LacksMembers(v) || v.Membership(carol) != "" || !two.rooms.MayBeIn(v, carol) || v.Summary.Name != "Lobby 10" {
		t.Fatalf("bob's server knows %d pieces of state, and is whole: %v", v.State.Len(), !v.Room.IsPartial())
	}
	said := two.say(room, bob, "hello")
	eventually(t, "that bob is heard", func() bool { return slices.Contains(one.heard(room), "hello") })
	one.say(room, carol, "welcome")
	eventually(t, "that bob hears carol", func() bool { return slices.Contains(two.heard(room), "welcome") })
	if v = two.view(room); v.Membership(carol) != "join" || v.Membership(elsie) != "" {
		t.Errorf("carol is %q and elsie %q", v.Membership(carol), v.Membership(elsie))
	}
	one.refused(http.StatusForbidden, "M_FORBIDDEN", two, "GET", uri("state_ids", room, "event_id", said), nil)
	if got := bodies(one.get(two, uri("event", said))["pdus"]); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("bob's server tells of what bob said: %v", got)
	}
	three.refused(http.StatusNotFound, "M_NOT_FOUND", two, "GET", client.Path("/_matrix/federation/v1/make_join", room, "@zoe:"+three.name)+"?ver=10", nil)
	waiting, cancel := context.WithTimeout(background(t), 50*time.Millisecond)
	defer cancel()
	if err := two.rooms.WaitForMembers(waiting, room); err == nil {
		t.Error("nobody waits for the members")
	}
	two.api.StopSending()
	again := New(two.api.o)
	if err := again.StartSending(background(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.StopSending)
	release()
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Fatal(err)
	}
	if two.state(room) != one.state(room) {
		t.Errorf("the servers don't agree:\n%s\n%s", two.state(room), one.state(room))
	}
	v = two.view(room)
	left, err := two.db.EventsToJudgeAnew(background(t), v.Room.NID, 0, 10)
	if err != nil || len(left) != 0 || v.Summary.JoinedMembers != 4 || v.Room.BecameWhole() == 0 {
		t.Errorf("%d events weren't judged anew, %d are in the room: %v", len(left), v.Summary.JoinedMembers, err)
	}
	if ids := one.get(two, uri("state_ids", room, "event_id", said))["pdu_ids"].([]any); len(ids) != v.State.Len() {
		t.Errorf("the state when bob spoke has %d events, now it has %d", len(ids), v.State.Len())
	}
	read, err := two.db.GetRoom(background(t), room)
	if err != nil || read.IsPartial() || read.BecameWhole() != v.Room.BecameWhole() {
		t.Errorf("the room is stored as %+v: %v", read.Partial, err)
	}
}

// forgeAs has a server sign an event of its user's that comes after another.
func (h *hearth) forgeAs(room, sender, eventType string, stateKey *string, content object, prev string, auth ...string) gomatrixserverlib.PDU {
	h.t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		h.t.Fatal(err)
	}
	pdu, err := h.rooms.SignTemplate("10", &gomatrixserverlib.ProtoEvent{SenderID: sender, RoomID: room, Type: eventType, StateKey: stateKey,
		Content: text, PrevEvents: []string{prev}, AuthEvents: auth, Depth: 100})
	if err != nil {
		h.t.Fatal(err)
	}
	return pdu
}

// TestJudgedAnew has somebody who has left a room do harm in it while the members aren't
// known: when they are, that counts for nothing, and what was refused because of it is shown.
func TestJudgedAnew(t *testing.T) {
	all, room, _, release := halfJoined(t, 2)
	one, two := all[0], all[1]
	dave, elsie := "@dave:"+one.name, "@elsie:"+one.name
	v := one.view(room)
	id := func(eventType, key string) string { e, _ := v.Entry(eventType, key); return e.EventID }
	joins, err := one.db.StateEventsBetween(background(t), v.Room.NID, 0, 1<<60)
	if err != nil {
		t.Fatal(err)
	}
	old := joins[slices.IndexFunc(joins, func(e *storage.Event) bool { return e.IsState() && *e.StateKey == dave })].ID
	create, levels := id("m.room.create", ""), id("m.room.power_levels", "")
	join := two.view(room).Room.ForwardExtremities[0]
	kick := one.forgeAs(room, dave, "m.room.member", &elsie, object{"membership": "leave"}, join, create, levels, old, id("m.room.member", elsie))
	carol := "@carol:" + one.name
	other := one.forgeAs(room, dave, "m.room.member", &carol, object{"membership": "leave"}, kick.EventID(), create, levels, old, id("m.room.member", carol))
	out := one.forgeAs(room, carol, "m.room.member", &carol, object{"membership": "leave"}, other.EventID(), create, levels, id("m.room.member", carol))
	word := one.forgeAs(room, elsie, "m.room.message", nil, object{"msgtype": "m.text", "body": "I am here"}, out.EventID(), create, levels, id("m.room.member", elsie))
	for _, said := range one.push(two, kick.JSON(), other.JSON(), out.JSON(), word.JSON()) {
		if said != "" {
			t.Errorf("an event was refused for good: %s", said)
		}
	}
	if two.membership(room, elsie) != "leave" || len(two.heard(room)) != 0 {
		t.Errorf("elsie is %q and was heard: %v", two.membership(room, elsie), two.heard(room))
	}
	if !two.event(room, out.EventID()).Accepted() {
		t.Error("carol doesn't get out")
	}
	release()
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Fatal(err)
	}
	if two.membership(room, elsie) != "join" || two.membership(room, dave) != "leave" {
		t.Errorf("elsie is %q, dave %q", two.membership(room, elsie), two.membership(room, dave))
	}
	if !slices.Equal(two.heard(room), []string{"I am here"}) {
		t.Errorf("what is heard is %v", two.heard(room))
	}
	if e := two.event(room, kick.EventID()); e.Flags != storage.Rejected {
		t.Errorf("the kick has the flags %d", e.Flags)
	}
	if ends := two.view(room).Room.ForwardExtremities; !slices.Equal(ends, []string{word.EventID()}) {
		t.Errorf("the room ends with %v", ends)
	}
}

// TestMembersNeverCome has a user leave a room again whose members nobody tells.
func TestMembersNeverCome(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	one.denyState()
	two.api.members.pause, two.api.members.patience = time.Millisecond, 0
	two.startSending()
	room, bob := one.room("12"), two.user("bob")
	two.join(room, bob, one)
	eventually(t, "that bob leaves", func() bool { return two.membership(room, bob) == "leave" })
	eventually(t, "that nobody asks any more", func() bool {
		two.api.members.mu.Lock()
		defer two.api.members.mu.Unlock()
		return len(two.api.members.rooms) == 0
	})
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Errorf("who has left waits: %v", err)
	}
	one.front.Store(nil)
	two.join(room, bob, one)
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Fatal(err)
	}
	if two.state(room) != one.state(room) {
		t.Errorf("after a second attempt the servers don't agree:\n%s\n%s", two.state(room), one.state(room))
	}
}
