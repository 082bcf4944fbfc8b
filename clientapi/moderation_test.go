package clientapi

import (
	"context"
	"fmt"
	"testing"

	"hearth/storage"
)

// admin makes an administrator and returns their access token.
func (w *world) admin(name string) string {
	w.t.Helper()
	hash, err := w.api.hashPassword(background(w.t), "secret-"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.db.CreateUser(background(w.t), storage.User{ID: "@" + name + ":test.local", PasswordHash: hash, Admin: true}); err != nil {
		w.t.Fatal(err)
	}
	return w.login(name, nil)["access_token"].(string)
}

// lock locks or unlocks an account as an administrator would.
func (w *world) lock(ctx context.Context, userID string, on bool) error {
	if err := w.db.SetLocked(ctx, userID, on); err != nil {
		return err
	}
	return w.api.forgetSessions(ctx, userID)
}

// TestModeration locks and suspends accounts, which only administrators may, and
// looks at what a suspended user can still do.
func TestModeration(t *testing.T) {
	w := newWorld(t, nil)
	admin, alice, bob := w.admin("root"), w.register("alice"), w.register("bob")
	w.admin("other")
	const v1 = "/_matrix/client/v1/admin/"

	for _, what := range []string{"lock", "suspend"} {
		member := what + "ed"
		w.refused(403, "M_FORBIDDEN", "GET", v1+what+"/@nobody:test.local", bob, nil)
		w.refused(403, "M_FORBIDDEN", "PUT", v1+what+"/@alice:test.local", bob, object{member: true})
		w.refused(403, "M_FORBIDDEN", "PUT", v1+what+"/@root:test.local", admin, object{member: true})
		w.refused(403, "M_FORBIDDEN", "GET", v1+what+"/@other:test.local", admin, nil)
		w.refused(404, "M_NOT_FOUND", "GET", v1+what+"/@nobody:test.local", admin, nil)
		w.refused(400, "M_INVALID_PARAM", "GET", v1+what+"/@alice:elsewhere.example", admin, nil)
		w.refused(400, "M_MISSING_PARAM", "PUT", v1+what+"/@alice:test.local", admin, object{})
		w.refused(400, "M_BAD_JSON", "PUT", v1+what+"/@alice:test.local", admin, object{member: "yes"})
		if got := w.ok("GET", v1+what+"/@alice:test.local", admin, nil)[member]; got != false {
			t.Errorf("%s: %v", what, got)
		}
	}
	if c := w.ok("GET", "/capabilities", admin, nil)["capabilities"].(object)["m.account_moderation"]; fmt.Sprint(c) != "map[lock:true suspend:true]" {
		t.Errorf("an administrator's capability: %v", c)
	}
	if c := w.ok("GET", "/capabilities", bob, nil)["capabilities"].(object)["m.account_moderation"]; c != nil {
		t.Errorf("a user's capability: %v", c)
	}

	w.ok("PUT", v1+"lock/@alice:test.local", admin, object{"locked": true})
	w.refused(401, "M_USER_LOCKED", "GET", "/account/whoami", alice, nil)
	w.ok("PUT", v1+"lock/@alice:test.local", admin, object{"locked": false})
	w.ok("GET", "/account/whoami", alice, nil)

	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat", "power_level_content_override": object{"users_default": 50}})["room_id"].(string)
	w.ok("POST", "/join/"+room, bob, nil)
	rooms := "/rooms/" + room
	own := w.ok("PUT", rooms+"/send/m.room.message/1", alice, object{"body": "mine", "msgtype": "m.text"})["event_id"].(string)
	others := w.ok("PUT", rooms+"/send/m.room.message/1", bob, object{"body": "his", "msgtype": "m.text"})["event_id"].(string)
	w.ok("PUT", v1+"suspend/@alice:test.local", admin, object{"suspended": true})
	if got := w.ok("GET", v1+"suspend/@alice:test.local", admin, nil)["suspended"]; got != true {
		t.Errorf("suspended: %v", got)
	}
	for _, no := range [][2]string{
		{"PUT", rooms + "/send/m.room.message/2"}, {"PUT", rooms + "/state/m.room.topic"}, {"PUT", rooms + "/state/m.room.topic/"},
		{"POST", rooms + "/invite"}, {"POST", rooms + "/join"}, {"POST", "/join/" + room}, {"POST", "/knock/" + room}, {"POST", "/createRoom"},
		{"PUT", "/profile/@alice:test.local/displayname"}, {"DELETE", "/profile/@alice:test.local/m.tz"},
		{"PUT", rooms + "/redact/" + others + "/3"}, {"PUT", rooms + "/redact/$nothing/4"}, {"POST", rooms + "/kick"},
	} {
		w.refused(403, "M_USER_SUSPENDED", no[0], no[1], alice, object{"user_id": "@bob:test.local", "displayname": "x", "topic": "x"})
	}
	w.refused(403, "M_USER_SUSPENDED", "PUT", rooms+"/send/m.room.redaction/5", alice, object{"redacts": others})
	w.ok("GET", rooms+"/messages?dir=b", alice, nil)
	w.ok("PUT", rooms+"/redact/"+own+"/6", alice, object{})
	again := w.login("alice", nil)["access_token"].(string)
	w.refused(403, "M_USER_SUSPENDED", "PUT", rooms+"/send/m.room.message/7", again, object{"body": "x"})
	w.ok("POST", rooms+"/leave", alice, nil)
	w.ok("PUT", v1+"suspend/@alice:test.local", admin, object{"suspended": false})
	w.ok("POST", rooms+"/join", alice, nil)

	w.api.sightings.flush()
	who := w.ok("GET", "/admin/whois/@alice:test.local", alice, nil)
	first := who["devices"].(object)["FIRST"].(object)["sessions"].([]any)[0].(object)["connections"].([]any)
	if who["user_id"] != "@alice:test.local" || len(first) != 1 || first[0].(object)["ip"] != "127.0.0.1" {
		t.Errorf("whois: %v", who)
	}
	w.ok("GET", "/admin/whois/@alice:test.local", admin, nil)
	w.refused(403, "M_FORBIDDEN", "GET", "/admin/whois/@alice:test.local", bob, nil)
	w.refused(404, "M_NOT_FOUND", "GET", "/admin/whois/@nobody:test.local", admin, nil)
}
