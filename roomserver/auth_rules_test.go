package roomserver

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
)

// may has somebody try to change a room's state.
func may(t *testing.T, s *Server, what string, want bool, r EventRequest) {
	t.Helper()
	if _, err := s.Send(t.Context(), r); (err == nil) != want || err != nil && httpapi.CodeOf(err) != "M_FORBIDDEN" {
		t.Errorf("%s: %v, allowed should be %v", what, err, want)
	}
}

func levelsBy(room, sender, content string) EventRequest {
	return EventRequest{RoomID: room, Sender: sender, Type: "m.room.power_levels", StateKey: new(""), Content: []byte(content)}
}

// TestPowerFights has a moderator reach for more power than they have, by each of the
// ways that levels stand in, and use what they have.
func TestPowerFights(t *testing.T) {
	s := open(t, dsn(t))
	room := newRoom(t, s, "10")
	join(t, s, room, bob)
	join(t, s, room, carol)
	const rest = `"users":{"` + alice + `":100,"` + bob + `":50},"kick":75,"events":{"m.room.power_levels":50}`
	may(t, s, "alice making bob a moderator", true, levelsBy(room, alice, `{`+rest+`}`))
	may(t, s, "bob raising everybody above himself", false, levelsBy(room, bob, `{"users_default":51,`+rest+`}`))
	may(t, s, "bob raising everybody to his own level", true, levelsBy(room, bob, `{"users_default":50,`+rest+`}`))
	may(t, s, "bob lowering somebody with no level of their own", true, levelsBy(room, bob,
		`{"users_default":50,"users":{"`+alice+`":100,"`+bob+`":50,"`+carol+`":0},"kick":75,"events":{"m.room.power_levels":50}}`))
	may(t, s, "bob lowering what notifies a room from the default", true, levelsBy(room, bob, `{"notifications":{"room":50},`+rest+`}`))
	may(t, s, "bob lowering what notifies a room from his own level", true, levelsBy(room, bob, `{"notifications":{"room":20},`+rest+`}`))
	may(t, s, "bob lowering what it takes to kick", false, levelsBy(room, bob, `{"kick":50,"users":{"`+alice+`":100,"`+bob+`":50},"events":{"m.room.power_levels":50}}`))

	setMembership(t, s, room, bob, carol, "ban")
	if _, err := s.SetMembership(t.Context(), MembershipRequest{RoomID: room, Sender: bob, Target: carol, Membership: "leave"}); httpapi.CodeOf(err) != "M_FORBIDDEN" {
		t.Errorf("bob, who may ban and not kick, lifting a ban: %v", err)
	}
	setMembership(t, s, room, alice, carol, "leave")
	may(t, s, "who isn't in the room naming aliases", false,
		EventRequest{RoomID: room, Sender: carol, Type: "m.room.aliases", StateKey: new("test.local"), Content: []byte(`{"aliases":[]}`)})

	room = newRoom(t, s, "12")
	may(t, s, "who made the room setting what notifies it", true, levelsBy(room, alice, `{"users":{},"notifications":{"room":60}}`))
	setState(t, s, room, "m.room.join_rules", `{"join_rule":"knock"}`)
	setMembership(t, s, room, bob, bob, "knock")
	setState(t, s, room, "m.room.join_rules", `{"join_rule":"public"}`)
	join(t, s, room, bob)
}

// TestThirdPartyInvites has invites that another service has signed be those of who made
// them, for whom that service says, and of nobody who is banned.
func TestThirdPartyInvites(t *testing.T) {
	s := open(t, dsn(t))
	public, private, _ := ed25519.GenerateKey(nil) // never fails with the system's randomness
	_, stranger, _ := ed25519.GenerateKey(nil)
	key := base64.RawStdEncoding.EncodeToString(public)
	for _, version := range []string{"1", "11"} {
		room := newRoom(t, s, version)
		join(t, s, room, bob)
		send(t, s, EventRequest{RoomID: room, Sender: alice, Type: "m.room.third_party_invite", StateKey: new("t1"), Content: []byte(`{"public_key":"` + key + `"}`)})
		send(t, s, EventRequest{RoomID: room, Sender: alice, Type: "m.room.third_party_invite", StateKey: new("t2"), Content: []byte(`{"public_keys":[{"public_key":"` + key + `"}]}`)})
		setMembership(t, s, room, alice, dave, "ban")
		for _, c := range []struct {
			sender, target, named, token string
			with                         ed25519.PrivateKey
			want                         bool
		}{
			{alice, carol, carol, "t1", private, true},
			{alice, "@erin:test.local", "@erin:test.local", "t2", private, true},
			{bob, "@frank:test.local", "@frank:test.local", "t1", private, false},
			{alice, "@frank:test.local", carol, "t1", private, false},
			{alice, "@frank:test.local", "@frank:test.local", "t1", stranger, false},
			{alice, "@frank:test.local", "@frank:test.local", "t3", private, false},
			{alice, dave, dave, "t1", private, false},
		} {
			text, err := json.Marshal(map[string]any{"mxid": c.named, "token": c.token, "sender": c.sender})
			if err != nil {
				t.Fatal(err)
			}
			signed, err := gomatrixserverlib.SignJSON("id.local", "ed25519:0", c.with, text)
			if err != nil {
				t.Fatal(err)
			}
			content, err := json.Marshal(map[string]any{"membership": "invite", "third_party_invite": map[string]any{"display_name": "x", "signed": json.RawMessage(signed)}})
			if err != nil {
				t.Fatal(err)
			}
			err = s.change(t.Context(), room, func(b *builder) error {
				_, err := b.add(newEvent{Sender: c.sender, Type: "m.room.member", StateKey: &c.target, Content: content})
				return err
			})
			if (err == nil) != c.want {
				t.Errorf("version %s: %s invites %s with %s: %v", version, c.sender, c.target, c.token, err)
			}
		}
	}
}
