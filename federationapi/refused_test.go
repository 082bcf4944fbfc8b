package federationapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// forge has bob's server make a membership event from nothing but what one's room
// shows, without asking one for a template.
func forge(t *testing.T, one, two *hearth, room, user string, content object) gomatrixserverlib.PDU {
	t.Helper()
	v, err := one.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	var auth []string
	for _, tuple := range [][2]string{{"m.room.power_levels", ""}, {"m.room.join_rules", ""}, {"m.room.member", "@alice:" + one.name}} {
		entry, _ := v.Entry(tuple[0], tuple[1])
		auth = append(auth, entry.EventID)
	}
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	pdu, err := two.rooms.SignTemplate(gomatrixserverlib.RoomVersion(v.Room.RoomVersion), &gomatrixserverlib.ProtoEvent{
		SenderID: user, RoomID: room, Type: "m.room.member", StateKey: &user, Content: text,
		PrevEvents: v.Room.ForwardExtremities, AuthEvents: auth, Depth: v.Room.Depth + 1})
	if err != nil {
		t.Fatal(err)
	}
	return pdu
}

// TestRestrictedJoin lets in who is in the room that the rules name, and nobody who
// merely says that a user of this server authorises it.
func TestRestrictedJoin(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob, carol := one.user("alice"), two.user("bob"), two.user("carol")
	club := one.room("10")
	room := one.room("12", roomserver.InitialEvent{Type: "m.room.join_rules", StateKey: new(""), Content: object{
		"join_rule": "restricted", "allow": []object{{"type": "m.room_membership", "room_id": club}}}})
	forged := forge(t, one, two, room, bob, object{"membership": "join", roomserver.AuthorisedVia: alice})
	two.refused(http.StatusForbidden, "M_FORBIDDEN", one, "PUT",
		client.Path("/_matrix/federation/v2/send_join", room, forged.EventID()), json.RawMessage(forged.JSON()))
	if m := one.membership(room, bob); m != "" {
		t.Errorf("bob is %q", m)
	}
	two.join(club, carol, one)
	two.join(room, carol, one)
	if m := one.membership(room, carol); m != "join" {
		t.Errorf("carol is %q", m)
	}
}

// TestUnstorable refuses an event with a name that PostgreSQL can't hold, and one that
// comes after too many others, before anything is written. Of a room's past the latter is taken.
func TestUnstorable(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("12")
	two.join(room, bob, one)
	v, err := one.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	many := slices.Repeat(v.Room.ForwardExtremities, 21)
	for what, p := range map[string]gomatrixserverlib.ProtoEvent{
		"character": {Type: "m.\x00", PrevEvents: v.Room.ForwardExtremities},
		"21":        {Type: "m.room.message", PrevEvents: many},
	} {
		p.SenderID, p.RoomID, p.Content, p.Depth, p.AuthEvents = bob, room, []byte("{}"), v.Room.Depth+1, []string{}
		pdu, err := two.rooms.SignTemplate("12", &p)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := two.client.Do(background(t), client.Request{Method: "PUT", Server: one.name,
			URI: "/_matrix/federation/v1/send/" + what, Body: object{"pdus": []json.RawMessage{pdu.JSON()}}})
		if err != nil || !strings.Contains(string(answer), what) {
			t.Errorf("%s: %s %v", what, answer, err)
		}
		past, err := one.rooms.FindPast(background(t), v, &storage.Gap{RoomNID: v.Room.NID, Missing: []string{pdu.EventID()}}, []gomatrixserverlib.PDU{pdu})
		if err != nil || past.Len() != map[string]int{"21": 1}[what] {
			t.Errorf("%s: of the past %d events are taken: %v", what, past.Len(), err)
		}
	}
	one.say(room, alice, "still here")
}

// TestNothingFromBefore has a server that gets everything late, from one room, join
// another meanwhile: it isn't sent what was said there before.
func TestNothingFromBefore(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	shared := one.room("12")
	other := one.room("10", roomserver.InitialEvent{Type: "m.room.history_visibility", StateKey: new(""), Content: object{"history_visibility": "joined"}})
	if err := one.api.StartSending(background(t)); err != nil {
		t.Fatal(err)
	}
	two.join(shared, bob, one)
	one.say(shared, alice, "first")
	eventually(t, "that bob hears alice", func() bool { return len(two.heard(shared)) == 1 })
	one.api.StopSending()
	secret := one.say(other, alice, "secret")
	two.join(other, bob, one)
	welcome := one.say(other, alice, "welcome")
	again := New(one.api.o)
	if err := again.StartSending(background(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.StopSending)
	eventually(t, "that bob is welcomed", func() bool { return slices.Contains(two.heard(other), "welcome") })
	for id, want := range map[string]bool{secret: false, welcome: true} {
		e, err := one.rooms.EventByID(background(t), other, id)
		if err != nil {
			t.Fatal(err)
		}
		o := &outgoing{event: e}
		if err := again.sender.resolve(background(t), []*outgoing{o}); err != nil || o.concerns(two.name) != want {
			t.Errorf("%s is sent: %v %v", e.JSON, o.concerns(two.name), err)
		}
	}
	if found, err := two.db.EventsByID(background(t), []string{secret}); err != nil || len(found) != 0 {
		t.Errorf("the secret is known: %v %v", found, err)
	}
}

// TestFinalRefusals gives up on a transaction only if nothing can make it succeed.
func TestFinalRefusals(t *testing.T) {
	for status, final := range map[int]bool{400: true, 413: true, 401: false, 403: false, 404: false, 429: false, 500: false, 502: false} {
		if err := error(&client.RemoteError{Status: status}); isFinal(err) != final {
			t.Errorf("%d: final is %v", status, !final)
		}
	}
	if isFinal(&client.UnreachableError{Err: errors.New("no route")}) || !isFinal(httpapi.Forbidden("denied")) {
		t.Error("what isn't an answer is judged wrongly")
	}
}

// TestWrongVersion doesn't take over a room that a server hands over with another
// version than it was created with.
func TestWrongVersion(t *testing.T) {
	all := newHearths(t, 1, nil)
	one := all[0]
	room := one.room("10")
	v, err := one.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	create, err := one.rooms.StateEvent(background(t), v, "m.room.create", "")
	if err != nil {
		t.Fatal(err)
	}
	pdu, err := parseEvent("10", create.JSON)
	if err != nil {
		t.Fatal(err)
	}
	state := []gomatrixserverlib.PDU{pdu}
	if !madeWith("10", state) || madeWith("11", state) || madeWith("10", nil) {
		t.Error("a room was made with another version, or none")
	}
	for roomID, want := range map[string]int{room: 1, "!other:x": 0} {
		if n := len(one.api.authenticOf(background(t), "10", roomID, []json.RawMessage{create.JSON}, nil)); n != want {
			t.Errorf("%d events are of the room %s", n, roomID)
		}
	}
}
