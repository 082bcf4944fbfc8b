package federationapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/federationapi/client"
	"hearth/roomserver"
)

// inviteTo is an invitation of a user of another server as one's server sends it.
func (h *hearth) inviteTo(room, sender, target string) *invitation {
	h.t.Helper()
	version, proto, err := h.rooms.MembershipTemplate(background(h.t), roomserver.MembershipRequest{RoomID: room, Sender: sender, Target: target, Membership: "invite"})
	if err != nil {
		h.t.Fatal(err)
	}
	pdu, err := h.rooms.SignTemplate(version, proto)
	if err != nil {
		h.t.Fatal(err)
	}
	stripped, err := h.rooms.UnstrippedState(background(h.t), room, sender)
	if err != nil {
		h.t.Fatal(err)
	}
	return &invitation{Event: pdu.JSON(), Version: version, Stripped: stripped}
}

func (i *invitation) path(t *testing.T) string {
	t.Helper()
	pdu, err := parseEvent(i.Version, i.Event)
	if err != nil {
		t.Fatal(err)
	}
	return client.Path("/_matrix/federation/v2/invite", pdu.RoomID().String(), pdu.EventID())
}

// TestInviteChecks sends invitations that come with what isn't the room's state, or without the
// event that the room's id is made of.
func TestInviteChecks(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room, other, old := one.room("12"), one.room("11"), one.room("10")
	elsewhere, err := one.rooms.UnstrippedState(background(t), other, alice)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(list []json.RawMessage) []json.RawMessage{
		"nothing":      func([]json.RawMessage) []json.RawMessage { return nil },
		"no beginning": func(list []json.RawMessage) []json.RawMessage { return list[1:] },
		"another room": func(list []json.RawMessage) []json.RawMessage { return append(list, elsewhere[1]) },
		"forged": func(list []json.RawMessage) []json.RawMessage {
			for n, e := range list {
				if strings.Contains(string(e), "m.room.join_rules") {
					list[n] = json.RawMessage(strings.Replace(string(e), `"public"`, `"invite"`, 1))
				}
			}
			return list
		},
	} {
		i := one.inviteTo(room, alice, bob)
		i.Stripped = change(i.Stripped)
		t.Run(name, func(t *testing.T) { one.refused(http.StatusBadRequest, "M_INVALID_PARAM", two, "PUT", i.path(t), i) })
	}
	if m := two.membership(room, bob); m != "" {
		t.Errorf("bob is %q", m)
	}
	// Servers that don't do yet what is specified are understood.
	for _, room := range []string{room, old} {
		i := one.inviteTo(room, alice, bob)
		var bare []json.RawMessage
		for _, e := range strippedStates(i.Stripped) {
			text, _ := json.Marshal(e) // what was decoded always marshals
			bare = append(bare, text)
		}
		i.Stripped = bare
		if err := one.client.Put(background(t), two.name, i.path(t), i, new(object)); err != nil {
			t.Error(err)
		}
	}
}

// TestInvitingServer bars the server of who invites, and refuses what it hasn't signed or another
// server's user has sent.
func TestInvitingServer(t *testing.T) {
	all := newHearths(t, 3, nil)
	one, two, three := all[0], all[1], all[2]
	alice, bob, carol := one.user("alice"), two.user("bob"), two.user("carol")
	room := one.room("10")
	i := one.inviteTo(room, alice, bob)
	path := i.path(t)
	three.refused(http.StatusBadRequest, "M_INVALID_PARAM", two, "PUT", path, i)
	i.Event = json.RawMessage(strings.Replace(string(i.Event), `"ed25519:a":"`, `"ed25519:a":"AAAA`, 1))
	one.refused(http.StatusBadRequest, "M_INVALID_PARAM", two, "PUT", path, i)
	two.join(room, carol, one)
	bar := one.send(room, alice, "m.room.server_acl", new(""), object{"allow": []string{"*"}, "allow_ip_literals": false})
	same(t, "the answer", one.push(two, one.event(room, bar).JSON), "")
	i = one.inviteTo(room, alice, bob)
	one.refused(http.StatusForbidden, "M_FORBIDDEN", two, "PUT", i.path(t), i)
}

// TestOldServerInvited invites somebody whose server knows only how that was done in the first
// version.
func TestOldServerInvited(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	front := func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		if strings.HasPrefix(r.URL.Path, "/_matrix/federation/v2/invite/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		server.ServeHTTP(w, r)
	}
	two.front.Store(&front)
	alice := one.user("alice")
	for version, want := range map[string]string{"1": "invite", "3": ""} {
		bob := two.user("bob" + version)
		room := one.room(version)
		err := one.api.Invite(background(t), roomserver.MembershipRequest{RoomID: room, Sender: alice, Target: bob, Membership: "invite"})
		if m := two.membership(room, bob); m != want || (err == nil) != (want != "") {
			t.Errorf("in a room of version %s bob is %q: %v", version, m, err)
		}
	}
}

// TestInvitedElsewhere takes in, from the one that invites, the invitation of a user whose server
// hasn't signed it: that is between the two.
func TestInvitedElsewhere(t *testing.T) {
	for _, version := range []string{"10", "12"} {
		all := newHearths(t, 2, nil)
		one, two := all[0], all[1]
		alice, bob := one.user("alice"), two.user("bob")
		room := one.room(version)
		users := object{bob: 50}
		if version == "10" { // later she is above all levels
			users[alice] = 100
		}
		one.send(room, alice, "m.room.power_levels", new(""), object{"users": users})
		two.join(room, bob, one)
		i := two.inviteTo(room, bob, "@carol:gone.example")
		same(t, "the answer", two.push(one, i.Event), "")
		if m := one.membership(room, "@carol:gone.example"); m != "invite" {
			t.Errorf("carol is %q", m)
		}
		// Whose user sends it must have signed it all the same.
		i = two.inviteTo(room, bob, "@dave:gone.example")
		results := two.push(one, json.RawMessage(strings.Replace(string(i.Event), `"ed25519:a":"`, `"ed25519:a":"AAAA`, 1)))
		if len(results) != 1 || results[0] == "" {
			t.Errorf("the answer is %q", results)
		}
	}
}

// TestSentByOthers refuses memberships that aren't those of who sends them.
func TestSentByOthers(t *testing.T) {
	all := newHearths(t, 3, nil)
	one, two, three := all[0], all[1], all[2]
	one.user("alice")
	bob := two.user("bob")
	room := one.room("10")
	pdu := two.entering(one, room, bob)
	bad := json.RawMessage(strings.Replace(string(pdu.JSON()), `"ed25519:a":"`, `"ed25519:a":"AAAA`, 1))
	for _, version := range []string{"v1", "v2"} {
		path := client.Path("/_matrix/federation/"+version+"/send_join", room, pdu.EventID())
		three.refused(http.StatusBadRequest, "M_INVALID_PARAM", one, "PUT", path, json.RawMessage(pdu.JSON()))
		two.refused(http.StatusBadRequest, "M_INVALID_PARAM", one, "PUT", path, bad)
	}
	var answer []any
	err := two.client.Put(background(t), one.name, client.Path("/_matrix/federation/v1/send_join", room, pdu.EventID()), json.RawMessage(pdu.JSON()), &answer)
	if err != nil || len(answer) != 2 || answer[0] != 200.0 || len(answer[1].(object)["state"].([]any)) < 5 {
		t.Errorf("in the old way the answer is %v: %v", answer, err)
	}
}

// entering is the event by which a user enters a room.
func (h *hearth) entering(via *hearth, room, user string) gomatrixserverlib.PDU {
	h.t.Helper()
	_, pdu, err := h.api.askToEnter(background(h.t), via.name, "make_join", room, user, map[string]any{"membership": "join"})
	if err != nil {
		h.t.Fatal(err)
	}
	return pdu
}
