package federationapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
)

func (h *hearth) knock(room, user string, via ...string) error {
	return h.api.Knock(background(h.t), room, user, via, map[string]any{"membership": "knock", "reason": "please"})
}

// TestKnock has bob knock on a room of another server. He is let in; carol isn't, and
// dave thinks better of it.
func TestKnock(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	for _, h := range all {
		h.startSending()
	}
	alice, bob, carol, dave := one.user("alice"), two.user("bob"), two.user("carol"), two.user("dave")
	room := one.room("12", roomserver.InitialEvent{Type: "m.room.join_rules", StateKey: new(""), Content: object{"join_rule": "knock"}})
	for _, user := range []string{bob, carol, dave} {
		if err := two.knock(room, user, "127.0.0.1:1", one.name); err != nil {
			t.Fatal(err)
		}
		if x, y := one.membership(room, user), two.membership(room, user); x != "knock" || y != "knock" {
			t.Errorf("%s is %q there and %q here", user, x, y)
		}
	}
	v, err := two.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	if stripped, err := two.db.GetInviteState(background(t), v.Room.NID, bob); err != nil || !strings.Contains(string(stripped), "Lobby 12") {
		t.Errorf("bob is shown %s %v", stripped, err)
	}
	if err := two.api.Leave(background(t), room, dave, map[string]any{"membership": "leave"}); err != nil {
		t.Fatal(err)
	}
	if x, y := one.membership(room, dave), two.membership(room, dave); x != "leave" || y != "leave" {
		t.Errorf("dave is %q there and %q here", x, y)
	}
	if _, err := one.rooms.SetMembership(background(t), roomserver.MembershipRequest{RoomID: room, Sender: alice, Target: carol, Membership: "leave"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that carol isn't let in", func() bool { return two.membership(room, carol) == "leave" })
	if err := one.api.Invite(background(t), roomserver.MembershipRequest{RoomID: room, Sender: alice, Target: bob, Membership: "invite"}); err != nil {
		t.Fatal(err)
	}
	two.join(room, bob, one)
	public := one.room("11")
	if err := two.knock(public, carol, one.name); httpapi.CodeOf(err) != "M_FORBIDDEN" {
		t.Errorf("knocking on an open door: %v", err)
	}
	two.refused(http.StatusBadRequest, "M_INCOMPATIBLE_ROOM_VERSION", one, "GET", uri("make_knock/"+room, dave, "ver", "7"), nil)
}

// TestLateRefusal has the end of a knock come when carol knocks again already: it ends nothing then.
func TestLateRefusal(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, carol := one.user("alice"), two.user("carol")
	room := one.room("11", roomserver.InitialEvent{Type: "m.room.join_rules", StateKey: new(""), Content: object{"join_rule": "knock"}})
	refuse := func() json.RawMessage {
		if err := two.knock(room, carol, one.name); err != nil {
			t.Fatal(err)
		}
		id, err := one.rooms.SetMembership(background(t), roomserver.MembershipRequest{RoomID: room, Sender: alice, Target: carol, Membership: "leave"})
		if err != nil {
			t.Fatal(err)
		}
		e, err := one.rooms.EventByID(background(t), room, id)
		if err != nil {
			t.Fatal(err)
		}
		return e.JSON
	}
	first, second := refuse(), refuse()
	for i, want := range []string{"knock", "leave"} {
		if _, err := one.client.Do(background(t), client.Request{Method: "PUT", Server: two.name, URI: "/_matrix/federation/v1/send/" + fmt.Sprint(i),
			Body: object{"pdus": []json.RawMessage{first, second}[i : i+1]}}); err != nil {
			t.Fatal(err)
		}
		if got := two.membership(room, carol); got != want {
			t.Errorf("after refusal %d carol is %q instead of %q", i+1, got, want)
		}
	}
}

// TestTemplates signs nothing but what was asked for.
func TestTemplates(t *testing.T) {
	const user, room = "@bob:two", "!room:one"
	for _, membership := range []string{"join", "leave", "knock"} {
		good := func() *gomatrixserverlib.ProtoEvent {
			return &gomatrixserverlib.ProtoEvent{Type: "m.room.member", SenderID: user, StateKey: new(user), RoomID: room,
				Content: []byte(fmt.Sprintf(`{"membership":%q,"join_authorised_via_users_server":"@alice:one","third_party_invite":{}}`, membership))}
		}
		content := map[string]any{"membership": membership}
		p := good()
		if err := checkTemplate(p, room, user, content); err != nil || strings.Contains(string(p.Content), "third") ||
			strings.Contains(string(p.Content), "alice") != (membership == "join") {
			t.Errorf("%s: %v %s", membership, err, p.Content)
		}
		for what, change := range map[string]func(p *gomatrixserverlib.ProtoEvent){
			"type":       func(p *gomatrixserverlib.ProtoEvent) { p.Type = "m.room.power_levels" },
			"sender":     func(p *gomatrixserverlib.ProtoEvent) { p.SenderID = "@admin:two" },
			"state key":  func(p *gomatrixserverlib.ProtoEvent) { p.StateKey = new("@admin:two") },
			"no state":   func(p *gomatrixserverlib.ProtoEvent) { p.StateKey = nil },
			"room":       func(p *gomatrixserverlib.ProtoEvent) { p.RoomID = "!other:one" },
			"membership": func(p *gomatrixserverlib.ProtoEvent) { p.Content = []byte(`{"membership":"ban"}`) },
			"redacts":    func(p *gomatrixserverlib.ProtoEvent) { p.Redacts = "$x" },
		} {
			p := good()
			change(p)
			var refused *httpapi.Error
			if err := checkTemplate(p, room, user, content); !errors.As(err, &refused) {
				t.Errorf("%s with another %s: %v", membership, what, err)
			}
		}
	}
}

// TestOldTemplate asks for the template of a join as the first room versions write events.
func TestOldTemplate(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	room, bob := one.room("1"), two.user("bob")
	made := two.get(one, uri("make_join/"+room, bob, "ver", "1"))["event"].(object)
	for _, name := range []string{"prev_events", "auth_events"} {
		if list, _ := json.Marshal(made[name]); !strings.HasPrefix(string(list), `[["$`) {
			t.Errorf("%s are %s", name, list)
		}
	}
	two.join(room, bob, one)
	two.say(room, bob, "hello")
}

// TestManyEnds has a server fork a room very often: what this one says still comes after
// no more events than it may, and joins the ends.
func TestManyEnds(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("12")
	two.join(room, bob, one)
	v, err := one.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	levels, _ := v.Entry("m.room.power_levels", "")
	member, _ := v.Entry("m.room.member", bob)
	for i := range 60 {
		pdu, err := two.rooms.SignTemplate("12", &gomatrixserverlib.ProtoEvent{SenderID: bob, RoomID: room, Type: "m.room.message",
			Content: []byte(fmt.Sprintf(`{"body":"%d"}`, i)), PrevEvents: v.Room.ForwardExtremities,
			AuthEvents: []string{levels.EventID, member.EventID}, Depth: v.Room.Depth + 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := one.rooms.Receive(background(t), pdu); err != nil {
			t.Fatal(err)
		}
		now, err := one.rooms.View(background(t), room)
		if err != nil || len(now.Room.ForwardExtremities) > 11 {
			t.Fatalf("%d ends %v", len(now.Room.ForwardExtremities), err)
		}
	}
	same(t, "the answer", one.push(two, one.event(room, one.say(room, alice, "hello")).JSON), "")
	if one.state(room) != two.state(room) {
		t.Error("the states differ")
	}
}
