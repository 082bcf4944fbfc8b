package clientapi

import (
	"crypto/ed25519"
	"testing"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// TestRestricted has somebody come into a room whose members are those of another: not
// before they are in that, and on the power of somebody who may invite.
func TestRestricted(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	club := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	rule := object{"join_rule": "knock_restricted", "allow": []any{object{"type": "m.room_membership", "room_id": club}}}
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat", "room_version": "10",
		"power_level_content_override": object{"invite": 50}, "initial_state": []object{{"type": "m.room.join_rules", "content": rule}}})["room_id"].(string)
	w.refused(403, "M_FORBIDDEN", "POST", "/join/"+room, bob, object{})
	w.ok("POST", "/join/"+club, bob, object{})
	w.ok("PUT", "/rooms/"+room+"/state/m.room.member/@bob:test.local", bob, object{"membership": "join", "displayname": "Bobby"})
	same(t, "member", w.state(room, bob, "m.room.member", "@bob:test.local"),
		object{"membership": "join", "displayname": "Bobby", "join_authorised_via_users_server": "@alice:test.local"})
	w.ok("PUT", "/rooms/"+room+"/state/m.room.member/@bob:test.local", bob,
		object{"membership": "join", "displayname": "Rob", "join_authorised_via_users_server": "unused"})
	same(t, "renamed", w.state(room, bob, "m.room.member", "@bob:test.local"), object{"membership": "join", "displayname": "Rob"})

	// With nobody left who may invite, only another server could let him in again.
	w.ok("POST", "/rooms/"+room+"/leave", bob, object{})
	w.ok("POST", "/rooms/"+room+"/leave", alice, object{})
	w.refused(403, "M_FORBIDDEN", "POST", "/join/"+room, bob, object{})
	_, err := w.api.rooms.SetMembership(background(t), roomserver.MembershipRequest{RoomID: room, Sender: "@bob:test.local", Target: "@bob:test.local", Membership: "join"})
	same(t, "here", httpapi.CodeOf(err), "M_UNABLE_TO_GRANT_JOIN")
	w.ok("POST", "/rooms/"+club+"/leave", bob, object{})
	w.ok("POST", "/rooms/"+club+"/leave", alice, object{})
	_, err = w.api.rooms.SetMembership(background(t), roomserver.MembershipRequest{RoomID: room, Sender: "@bob:test.local", Target: "@bob:test.local", Membership: "join"})
	same(t, "here", httpapi.CodeOf(err), "M_UNABLE_TO_AUTHORISE_JOIN")
}

// TestKnocking has somebody knock, take it back, be turned away and be let in.
func TestKnocking(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "private_chat", "room_version": "7"})["room_id"].(string)
	bobs := func() any { return w.state(room, alice, "m.room.member", "@bob:test.local")["membership"] }
	w.refused(403, "M_FORBIDDEN", "POST", "/knock/"+room, bob, object{})
	w.ok("PUT", "/rooms/"+room+"/state/m.room.join_rules", alice, object{"join_rule": "knock"})
	w.refused(403, "M_FORBIDDEN", "POST", "/join/"+room, bob, object{})
	w.ok("POST", "/knock/"+room, bob, object{"reason": "let me in"})
	same(t, "knocked", w.state(room, alice, "m.room.member", "@bob:test.local"), object{"membership": "knock", "reason": "let me in"})
	w.refused(403, "M_FORBIDDEN", "GET", "/rooms/"+room+"/state", bob, nil)
	w.ok("POST", "/rooms/"+room+"/leave", bob, object{})
	same(t, "taken back", bobs(), "leave")
	w.ok("POST", "/knock/"+room, bob, object{})
	w.ok("POST", "/rooms/"+room+"/kick", alice, object{"user_id": "@bob:test.local"})
	same(t, "turned away", bobs(), "leave")
	w.ok("POST", "/knock/"+room, bob, object{})
	w.ok("POST", "/rooms/"+room+"/invite", alice, object{"user_id": "@bob:test.local"})
	w.refused(403, "M_FORBIDDEN", "POST", "/knock/"+room, bob, object{})
	w.ok("POST", "/join/"+room, bob, object{})
	same(t, "let in", bobs(), "join")
	w.refused(403, "M_FORBIDDEN", "POST", "/knock/"+room, bob, object{})
	w.ok("POST", "/rooms/"+room+"/ban", alice, object{"user_id": "@bob:test.local"})
	w.refused(403, "M_FORBIDDEN", "POST", "/knock/"+room, bob, object{})
}

// TestInviteBlocking has somebody take no invitations, on any path.
func TestInviteBlocking(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	setBlock := func(content string, types ...string) {
		dataType := "m.invite_permission_config"
		if len(types) > 0 {
			dataType = types[0]
		}
		if err := w.db.Stream.Append(background(t), &storage.Change{AccountData: []storage.AccountData{
			{UserID: "@bob:test.local", Type: dataType, Content: []byte(content)}}}); err != nil {
			t.Fatal(err)
		}
	}
	setBlock(`{"default_action":"block"}`)
	w.refused(403, "M_INVITE_BLOCKED", "POST", "/createRoom", alice, object{"invite": []string{"@bob:test.local"}})
	w.register("carol")
	room := w.ok("POST", "/createRoom", alice, object{"invite": []string{"@bob:test.local", "@carol:test.local"}})["room_id"].(string)
	same(t, "invited", w.state(room, alice, "m.room.member", "@carol:test.local"), object{"membership": "invite"})
	w.refused(404, "M_NOT_FOUND", "GET", "/rooms/"+room+"/state/m.room.member/@bob:test.local", alice, nil)
	w.refused(403, "M_INVITE_BLOCKED", "POST", "/rooms/"+room+"/invite", alice, object{"user_id": "@bob:test.local"})
	w.refused(403, "M_INVITE_BLOCKED", "PUT", "/rooms/"+room+"/state/m.room.member/@bob:test.local", alice, object{"membership": "invite"})
	w.refused(400, "M_INVALID_PARAM", "POST", "/createRoom", alice, object{"initial_state": []object{
		{"type": "m.room.member", "state_key": "@bob:test.local", "content": object{"membership": "invite"}}}})
	setBlock(`{"default_action":"other"}`)
	w.ok("PUT", "/rooms/"+room+"/state/m.room.member/@bob:test.local", alice, object{"membership": "invite", "displayname": "Boob"})
	same(t, "invited as", w.state(room, alice, "m.room.member", "@bob:test.local"), object{"membership": "invite"})
	w.ok("POST", "/join/"+room, bob, object{})

	// The lists of whose invitations are taken, as they are proposed.
	for config, taken := range map[string]bool{
		`{"blocked_users":["@alice:test.local"]}`:                                  false,
		`{"blocked_users":["@a*:?est.local"]}`:                                     false,
		`{"blocked_users":["@b*"]}`:                                                true,
		`{"blocked_servers":["test.*"]}`:                                           false,
		`{"ignored_servers":["test.*"],"blocked_users":["*"]}`:                     false,
		`{"ignored_servers":["*"],"blocked_servers":["*"]}`:                        true,
		`{"allowed_users":["@alice:test.local"],"blocked_servers":["*"]}`:          true,
		`{"allowed_servers":["test.local"],"blocked_users":["@alice:test.local"]}`: false,
		`{"blocked_users":null,"blocked_servers":["test.local"]}`:                  false,
		`{"blocked_servers":["*"],"enabled":false}`:                                true,
		`{"blocked_servers":["*"],"ignored_users":"*"}`:                            true,
		`{"blocked_servers":["*",3]}`:                                              true,
	} {
		setBlock(config, "org.matrix.msc4155.invite_permission_config")
		other := w.ok("POST", "/createRoom", alice, object{})["room_id"].(string)
		if taken {
			w.ok("POST", "/rooms/"+other+"/invite", alice, object{"user_id": "@bob:test.local"})
		} else {
			w.refused(403, "M_INVITE_BLOCKED", "POST", "/rooms/"+other+"/invite", alice, object{"user_id": "@bob:test.local"})
		}
	}
}

// TestForgetOnLeave has who leaves, and who is made to, forget the room at once.
func TestForgetOnLeave(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Rooms = roomserver.New(roomserver.Options{DB: o.DB, ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: key, CacheBytes: 1 << 20, ForgetOnLeave: true})
	})
	alice, bob := w.register("alice"), w.register("bob")
	same(t, "announced", w.ok("GET", "/capabilities", alice, nil)["capabilities"].(object)["m.forget_forced_upon_leave"], object{"enabled": true})
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	for _, how := range []func(){
		func() { w.ok("POST", "/rooms/"+room+"/leave", bob, object{}) },
		func() { w.ok("POST", "/rooms/"+room+"/kick", alice, object{"user_id": "@bob:test.local"}) },
	} {
		w.ok("POST", "/join/"+room, bob, object{})
		w.ok("GET", "/rooms/"+room+"/messages?dir=b", bob, nil)
		how()
		w.refused(403, "M_FORBIDDEN", "GET", "/rooms/"+room+"/messages?dir=b", bob, nil)
	}
	w.ok("POST", "/rooms/"+room+"/forget", bob, object{})
}
