package federationapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
)

// forged is an event of one's user in a room that both servers are in, signed by theirs,
// after others than the room's newest.
func (h *hearth) forged(room, user string, p gomatrixserverlib.ProtoEvent) gomatrixserverlib.PDU {
	h.t.Helper()
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		h.t.Fatal(err)
	}
	p.SenderID, p.RoomID, p.Depth = user, room, v.Room.Depth+1
	auth := []string{h.stateID(room, "m.room.power_levels", ""), h.stateID(room, "m.room.member", user)}
	if v.Room.RoomVersion != "12" {
		auth = append(auth, h.stateID(room, "m.room.create", ""))
	}
	p.AuthEvents = auth
	if p.PrevEvents == nil {
		p.PrevEvents = v.Room.ForwardExtremities
	}
	pdu, err := h.rooms.SignTemplate(gomatrixserverlib.RoomVersion(v.Room.RoomVersion), &p)
	if err != nil {
		h.t.Fatal(err)
	}
	return pdu
}

func message(body string) gomatrixserverlib.ProtoEvent {
	return gomatrixserverlib.ProtoEvent{Type: "m.room.message", Content: []byte(`{"body":"` + body + `"}`)}
}

// TestRedactUnknown has alice redact what has not come yet. When it comes, nothing of it is
// kept. Who may redact only what is theirs can't redact what nobody knows.
func TestRedactUnknown(t *testing.T) {
	for _, version := range []string{"10", "12"} {
		all := newHearths(t, 2, nil)
		one, two := all[0], all[1]
		alice, bob, carol := one.user("alice"), two.user("bob"), one.user("carol")
		room := one.room(version)
		two.join(room, bob, one)
		one.member(room, carol, "join")
		late := two.forged(room, bob, message("late"))
		redact := func(by, id string) error {
			_, err := one.rooms.Send(background(t), roomserver.EventRequest{RoomID: room, Sender: by, Type: "m.room.redaction", Redacts: id, Content: []byte("{}")})
			return err
		}
		for _, err := range []error{redact(carol, late.EventID()), redact(alice, "$\x00"), redact(alice, "no id")} {
			if httpapi.CodeOf(err) != "M_NOT_FOUND" {
				t.Errorf("redacting what isn't there: %v", err)
			}
		}
		if err := redact(alice, late.EventID()); err != nil {
			t.Fatal(err)
		}
		same(t, "the answer", two.push(one, late.JSON()), "")
		if e := one.event(room, late.EventID()); e.RedactedBy == "" || strings.Contains(string(e.JSON), "late") || e.Flags != 0 {
			t.Errorf("what was redacted before it came is %s, by %q", e.JSON, e.RedactedBy)
		}
		one.say(room, alice, "after")
	}
}

// TestNothingToTell sends an event that comes after one that its server doesn't tell: that
// server isn't asked for the state there.
func TestNothingToTell(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	one.user("alice")
	bob := two.user("bob")
	room := one.room("10")
	two.join(room, bob, one)
	unsent := two.forged(room, bob, message("unsent"))
	after := message("after")
	after.PrevEvents = []string{unsent.EventID()}
	results := two.push(one, two.forged(room, bob, after).JSON())
	if len(results) != 1 || results[0] == "" {
		t.Errorf("the answer is %q", results)
	}
	same(t, "what alice hears", one.heard(room))
}

// TestLongNames takes in, where the room's version allows it, an event with a state key of up to
// 255 characters that are more bytes.
func TestLongNames(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("10")
	one.send(room, alice, "m.room.power_levels", new(""), object{"users": object{alice: 100, bob: 50}})
	two.join(room, bob, one)
	v, err := two.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("ö", 200)
	text, err := json.Marshal(object{"type": "com.example", "state_key": key, "content": object{}, "sender": bob, "room_id": room, "origin_server_ts": 1, "hashes": object{},
		"depth": v.Room.Depth + 1, "prev_events": v.Room.ForwardExtremities, "auth_events": []string{
			two.stateID(room, "m.room.create", ""), two.stateID(room, "m.room.power_levels", ""), two.stateID(room, "m.room.member", bob)}})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := gomatrixserverlib.SignJSON(two.name, "ed25519:a", two.key, text)
	if err != nil {
		t.Fatal(err)
	}
	pdu, err := parseEvent("10", signed)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.rooms.Receive(background(t), pdu); err != nil {
		t.Error(err)
	}
	if one.stateID(room, "com.example", key) != pdu.EventID() {
		t.Error("the event isn't in the room's state")
	}
}

// stateID is the id of the event that holds a piece of state.
func (h *hearth) stateID(room, kind, key string) string {
	h.t.Helper()
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		h.t.Fatal(err)
	}
	entry, _ := v.Entry(kind, key)
	return entry.EventID
}

// TestInviteState has an invitation come with whole events, of which the invited are shown
// what they may see, and refuses one that comes with another room's.
func TestInviteState(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("12")
	other, err := one.rooms.CreateRoom(background(t), roomserver.CreateRoomRequest{Creator: alice, Version: "12", Preset: "private_chat"})
	if err != nil {
		t.Fatal(err)
	}
	state, err := one.rooms.UnstrippedState(background(t), room, alice)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, text := range state {
		pdu, err := parseEvent("12", text)
		if err != nil || pdu.RoomID().String() != room {
			t.Fatalf("%s is no event of the room: %v", text, err)
		}
		found = found || pdu.Type() == "m.room.create"
	}
	if !found {
		t.Error("what comes with an invitation lacks the room's making")
	}
	version, proto, err := one.rooms.MembershipTemplate(background(t), roomserver.MembershipRequest{RoomID: room, Sender: alice, Target: bob, Membership: "invite"})
	if err != nil {
		t.Fatal(err)
	}
	pdu, err := one.rooms.SignTemplate(version, proto)
	if err != nil {
		t.Fatal(err)
	}
	path := client.Path("/_matrix/federation/v2/invite", room, pdu.EventID())
	foreign, err := one.rooms.UnstrippedState(background(t), other, alice)
	if err != nil {
		t.Fatal(err)
	}
	one.refused(http.StatusBadRequest, "M_INVALID_PARAM", two, "PUT", path, object{"event": json.RawMessage(pdu.JSON()), "room_version": "12", "invite_room_state": foreign})
	if err := one.client.Put(background(t), two.name, path, object{"event": json.RawMessage(pdu.JSON()), "room_version": "12", "invite_room_state": state}, &object{}); err != nil {
		t.Fatal(err)
	}
	v, err := two.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	stripped, err := two.db.GetInviteState(background(t), v.Room.NID, bob)
	if err != nil || !strings.Contains(string(stripped), `"m.room.create"`) || strings.Contains(string(stripped), "signatures") {
		t.Errorf("the invited are shown %s %v", stripped, err)
	}
}

// TestTakenBack ends an invitation by who made it, and by nobody else.
func TestTakenBack(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, carol, bob := one.user("alice"), one.user("carol"), two.user("bob")
	room := one.room("11")
	one.member(room, carol, "join")
	kick := func(by string) {
		t.Helper()
		if err := one.api.Invite(background(t), roomserver.MembershipRequest{RoomID: room, Sender: carol, Target: bob, Membership: "invite"}); err != nil {
			t.Fatal(err)
		}
		if _, err := one.rooms.SetMembership(background(t), roomserver.MembershipRequest{RoomID: room, Sender: by, Target: bob, Membership: "leave"}); err != nil {
			t.Fatal(err)
		}
		one.push(two, one.event(room, one.stateID(room, "m.room.member", bob)).JSON)
	}
	one.send(room, alice, "m.room.power_levels", new(""), object{"users": object{alice: 100, carol: 50}})
	kick(alice)
	if m := two.membership(room, bob); m != "invite" {
		t.Errorf("bob, whom another turned away, is %q", m)
	}
	kick(carol)
	if m := two.membership(room, bob); m != "leave" {
		t.Errorf("bob, whose invitation was taken back, is %q", m)
	}
}
