package e2e

import (
	"net/http"
	"slices"
	"testing"

	"github.com/tidwall/gjson"
)

// TestInvitationsToAddresses has people be invited by their e-mail addresses, before and
// after they have published them, on their own server and on another.
func TestInvitationsToAddresses(t *testing.T) {
	ids := newIdentityServer(t)
	one, _ := federating(t, ids.settings()...)
	two, _ := federating(t, ids.settings()...)
	alice, carol := register(t, one.base, "alice"), register(t, one.base, "carol")
	bob := register(t, two.base, "bob")
	to := func(address string) map[string]any {
		return map[string]any{"medium": "email", "address": address, "id_server": ids.name, "id_access_token": idToken}
	}
	publish := func(u *user, address string) {
		u.ok(t, "POST", clientV3+"/account/3pid/bind", map[string]any{
			"sid": address, "client_secret": "secret", "id_server": ids.name, "id_access_token": idToken})
	}
	invited := func(u *user, room string) {
		waitFor(t, u.id+" is invited", func() bool {
			return u.sync(t, "", "").Get("rooms.invite." + escapeKey(room)).Exists()
		})
	}
	room := alice.createRoom(t, map[string]any{"preset": "private_chat", "name": "Garden", "invite_3pid": []any{to("Bob@example.org")}})
	alice.ok(t, "POST", inRoom(room, "invite"), to("carol@example.org"))
	if pending := thirdPartyInvites(t, alice, room); len(pending) != 2 || pending[0].Get("content.display_name").Str == "" {
		t.Fatalf("pending: %v", pending)
	}
	publish(bob, "bob@example.org")
	publish(carol, "carol@example.org")
	for _, u := range []*user{bob, carol} {
		invited(u, room)
		u.join(t, room)
	}
	alice.say(t, room, "welcome")
	bob.hear(t, room, "welcome")

	// Now that the address is published, an invitation to it is bob's.
	second := alice.createRoom(t, map[string]any{"preset": "private_chat"})
	alice.ok(t, "POST", inRoom(second, "invite"), to("bob@example.org"))
	invited(bob, second)
	alice.refused(t, 403, "M_FORBIDDEN", "POST", inRoom(room, "invite"), to("bob@example.org"))

	refusals(t, ids, alice, carol, room, to)

	// Who ends their account is found no longer; nor is who takes the address back.
	if r := bob.ok(t, "POST", clientV3+"/account/3pid/unbind", to("bob@example.org")); r.Get("id_server_unbind_result").Str != "success" {
		t.Errorf("unbinding: %s", r)
	}
	r := carol.ok(t, "POST", clientV3+"/account/deactivate", map[string]any{"auth": map[string]any{"type": "m.login.password", "password": password}})
	if r.Get("id_server_unbind_result").Str != "success" || len(ids.owners) != 0 {
		t.Errorf("ending an account: %s, published: %v", r, ids.owners)
	}
}

func thirdPartyInvites(t *testing.T, u *user, room string) []gjson.Result {
	return slices.DeleteFunc(u.ok(t, "GET", inRoom(room, "state"), nil).Array(), func(e gjson.Result) bool {
		return e.Get("type").Str != "m.room.third_party_invite"
	})
}

// refusals are invitations and claims that come to nothing.
func refusals(t *testing.T, ids *identityServer, alice, carol *user, room string, to func(string) map[string]any) {
	with := func(member string, value any) map[string]any {
		body := to("dave@example.org")
		body[member] = value
		return body
	}
	invite := inRoom(room, "invite")
	alice.refused(t, 400, "M_SERVER_NOT_TRUSTED", "POST", invite, with("id_server", "evil.example.org"))
	alice.refused(t, 400, "M_INVALID_PARAM", "POST", invite, with("id_server", ids.name+"/path"))
	alice.refused(t, 400, "M_MISSING_PARAM", "POST", invite, with("id_access_token", ""))
	alice.refused(t, 403, "M_UNAUTHORIZED", "POST", invite, with("id_access_token", "wrong"))
	alice.refused(t, 400, "M_INVALID_PARAM", "POST", invite, with("medium", "pigeon"))
	alice.refused(t, 404, "M_NO_VALID_SESSION", "POST", clientV3+"/account/3pid/bind", map[string]any{
		"sid": "none", "client_secret": "secret", "id_server": ids.name, "id_access_token": idToken})

	// Without the power to invite, no mail is sent.
	alice.setState(t, room, "m.room.power_levels", "", map[string]any{"invite": 50, "users": map[string]any{}})
	before := len(ids.asked)
	carol.refused(t, 403, "M_FORBIDDEN", "POST", invite, to("dave@example.org"))
	if slices.Contains(ids.asked[before:], "/store-invite") {
		t.Error("the identity server was asked to store an invitation that isn't allowed")
	}
	alice.ok(t, "POST", invite, to("dave@example.org"))
	waiting := ids.waiting["dave@example.org"][0]
	dave := register(t, alice.base, "dave")
	join := inRoom(room, "join")
	dave.refused(t, 403, "M_FORBIDDEN", "POST", join, map[string]any{"third_party_signed": ids.sign(waiting, carol.id)})
	forged := gjson.ParseBytes(ids.sign(waiting, dave.id)).Value().(map[string]any)
	forged["signatures"] = map[string]any{ids.name: map[string]any{"ed25519:0": "c2lnbmF0dXJl"}}
	dave.refused(t, 403, "M_FORBIDDEN", "POST", join, map[string]any{"third_party_signed": forged})
	ids.mu.Lock()
	ids.revoked = true
	ids.mu.Unlock()
	dave.refused(t, 403, "M_FORBIDDEN", "POST", join, map[string]any{"third_party_signed": ids.sign(waiting, dave.id)})
	ids.mu.Lock()
	ids.revoked = false
	ids.mu.Unlock()
	dave.ok(t, "POST", join, map[string]any{"third_party_signed": ids.sign(waiting, dave.id)})

	// Who is banned stays out, and nobody is turned out by being invited again.
	alice.act(t, room, "ban", dave.id)
	dave.refused(t, 403, "M_FORBIDDEN", "POST", join, map[string]any{"third_party_signed": ids.sign(waiting, dave.id)})
	content := map[string]any{"membership": "invite", "third_party_invite": map[string]any{"display_name": "d", "signed": ids.sign(waiting, dave.id)}}
	alice.refused(t, 403, "M_FORBIDDEN", "PUT", inRoom(room, "state/m.room.member/"+dave.id), content)
	content["third_party_invite"] = map[string]any{"display_name": "c", "signed": ids.sign(waiting, carol.id)}
	alice.refused(t, 403, "M_FORBIDDEN", "PUT", inRoom(room, "state/m.room.member/"+carol.id), content)
	anybody := &user{base: alice.base}
	anybody.refused(t, http.StatusUnauthorized, "M_UNAUTHORIZED", "PUT", "/_matrix/federation/v1/exchange_third_party_invite/"+room, map[string]any{})
	anybody.refused(t, 400, "M_INVALID_PARAM", "PUT", "/_matrix/federation/v1/3pid/onbind", map[string]any{"mxid": "@x:elsewhere", "invites": []any{}})
}
