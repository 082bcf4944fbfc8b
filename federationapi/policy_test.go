package federationapi

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
)

// bePolicyServer has h sign all events but those with spam in them.
func (h *hearth) bePolicyServer(v gomatrixserverlib.IRoomVersion) (key string, asked *atomic.Int64) {
	public, private, _ := ed25519.GenerateKey(nil) // never fails with the system's randomness
	asked = new(atomic.Int64)
	h.policy = func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "spam") {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"errcode":"M_FORBIDDEN","error":"This looks like an advertisement"}`)
			return
		}
		redacted, err := v.RedactEventJSON(body)
		if err != nil {
			h.t.Error(err)
		}
		signed, err := gomatrixserverlib.SignJSON(h.name, "ed25519:policy_server", private, redacted)
		if err != nil {
			h.t.Error(err)
		}
		signature := gjson.GetBytes(signed, "signatures."+gjson.Escape(h.name)+".ed25519:policy_server").Str
		json.NewEncoder(w).Encode(object{h.name: object{"ed25519:policy_server": signature}})
	}
	return base64.RawStdEncoding.EncodeToString(public), asked
}

// sends is what sending a message answers, with the same transaction id for the same text.
func (h *hearth) sends(room, sender, body string) (string, error) {
	content, _ := json.Marshal(object{"msgtype": "m.text", "body": body}) // always marshals
	return h.rooms.Send(background(h.t), roomserver.EventRequest{RoomID: room, Sender: sender, Type: "m.room.message",
		Content: content, DeviceID: "D", TxnID: body, Endpoint: "send"})
}

// slip sends a message to another server without asking the policy server.
func (h *hearth) slip(to *hearth, room, sender, body string) {
	h.t.Helper()
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		h.t.Fatal(err)
	}
	var auth []string
	for _, part := range [][2]string{{"m.room.create", ""}, {"m.room.power_levels", ""}, {"m.room.member", sender}} {
		if e, ok := v.Entry(part[0], part[1]); ok && !(part[0] == "m.room.create" && v.Room.RoomVersion == "12") {
			auth = append(auth, e.EventID)
		}
	}
	pdu, err := h.rooms.SignTemplate(gomatrixserverlib.RoomVersion(v.Room.RoomVersion), &gomatrixserverlib.ProtoEvent{
		SenderID: sender, RoomID: room, Type: "m.room.message", Content: []byte(`{"msgtype":"m.text","body":"` + body + `"}`),
		PrevEvents: v.Room.ForwardExtremities, AuthEvents: auth, Depth: v.Room.Depth + 1})
	if err != nil {
		h.t.Fatal(err)
	}
	var answer any
	if err := h.client.Put(background(h.t), to.name, client.Path("/_matrix/federation/v1/send", "slip-"+body),
		object{"pdus": []any{json.RawMessage(pdu.JSON())}, "edus": []any{}, "origin": h.name, "origin_server_ts": 1}, &answer); err != nil {
		h.t.Fatal(err)
	}
}

// TestPolicyServer has a room's policy server keep advertisements out, whoever sends them,
// and the room go on without it when it is gone.
func TestPolicyServer(t *testing.T) {
	for _, version := range []string{"5", "12"} {
		t.Run(version, func(t *testing.T) { policyServer(t, version) })
	}
}

func policyServer(t *testing.T, version string) {
	all := newHearths(t, 3, nil)
	one, two, three := all[0], all[1], all[2]
	for _, h := range all {
		h.startSending()
	}
	alice, bob, pat := one.user("alice"), two.user("bob"), three.user("pat")
	v, _ := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(version))
	key, asked := three.bePolicyServer(v)
	room := one.room(version)
	named := object{"via": three.name, "public_keys": object{"ed25519": key}}
	one.send(room, alice, "m.room.policy", new(string), named)
	one.say(room, alice, "spam before the policy server has come in")
	if n := asked.Load(); n != 0 {
		t.Errorf("a server that isn't in the room was asked %d times", n)
	}
	three.join(room, pat, one)
	two.join(room, bob, one)

	first, err := one.sends(room, alice, "hello")
	if err != nil {
		t.Fatal(err)
	}
	again, err := one.sends(room, alice, "hello")
	if err != nil || again != first {
		t.Errorf("sent again: %s, %v, not %s", again, err, first)
	}
	e, err := one.rooms.EventByID(background(t), room, first)
	if err != nil || !gjson.GetBytes(e.JSON, "signatures."+gjson.Escape(three.name)+".ed25519:policy_server").Exists() {
		t.Errorf("without the policy server's signature: %s %v", e.JSON, err)
	}
	_, err = one.sends(room, alice, "spam")
	if httpapi.CodeOf(err) != "M_FORBIDDEN" || !strings.Contains(err.Error(), "looks like an advertisement") {
		t.Errorf("sending an advertisement: %v", err)
	}
	eventually(t, "that bob hears alice", func() bool { return slices.Contains(two.heard(room), "hello") })
	two.say(room, bob, "hi")
	eventually(t, "that alice hears bob", func() bool { return slices.Contains(one.heard(room), "hi") })
	eventually(t, "that bob's server knows the newest", func() bool { return one.state(room) == two.state(room) })

	// Of what comes unsigned, only what the policy server signs is shown.
	two.slip(one, room, bob, "by-the-way")
	two.slip(one, room, bob, "more-spam")
	if heard := one.heard(room); !slices.Contains(heard, "by-the-way") || slices.Contains(heard, "more-spam") {
		t.Errorf("alice hears %q", heard)
	}
	if _, err := one.rooms.Send(background(t), roomserver.EventRequest{RoomID: room, Sender: alice, Type: "m.room.topic", StateKey: new(string),
		Content: []byte(`{"topic":"spam"}`)}); httpapi.CodeOf(err) != "M_FORBIDDEN" {
		t.Errorf("a topic that is an advertisement: %v", err)
	}
	one.send(room, alice, "m.room.topic", new(string), object{"topic": "gardening"})
	invite := roomserver.MembershipRequest{RoomID: room, Sender: alice, Target: two.user("carol"), Membership: "invite", Reason: "spam"}
	if err := one.api.Invite(background(t), invite); httpapi.CodeOf(err) != "M_FORBIDDEN" {
		t.Errorf("an invitation that is an advertisement: %v", err)
	}
	invite.Reason = "join us"
	if err := one.api.Invite(background(t), invite); err != nil {
		t.Error(err)
	}
	redaction := roomserver.EventRequest{RoomID: room, Sender: alice, Type: "m.room.redaction", Redacts: first, Content: []byte("{}")}
	if _, err := one.rooms.Send(background(t), redaction); err != nil {
		t.Fatal(err)
	}
	if e, err := one.rooms.EventByID(background(t), room, first); err != nil || e.RedactedBy == "" {
		t.Errorf("not redacted: %v %v", e, err)
	}

	// When it is gone nobody can talk, until the room does without it.
	three.close()
	if _, err := one.sends(room, alice, "anybody there?"); httpapi.CodeOf(err) != "M_FORBIDDEN" {
		t.Errorf("without the policy server: %v", err)
	}
	one.send(room, alice, "m.room.policy", new(string), object{})
	one.say(room, alice, "spam for ever")
}
