package clientapi

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hearth/internal/password"
	"hearth/storage"
)

// TestRegistrationStages makes accounts where a token and consent are asked for, in
// their order, and a strong password.
func TestRegistrationStages(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.RegistrationTokenRequired = true
		o.Terms = &Terms{Version: "1.2", Language: "en", ServiceURL: "https://test.local/terms", PrivacyURL: "https://test.local/privacy"}
		o.PasswordPolicy = password.Policy{MinLength: 8, Require: []string{"digit", "symbol"}}
	})
	ctx := background(t)
	for _, token := range []storage.RegistrationToken{
		{Token: "once", UsesAllowed: 1}, {Token: "ever"}, {Token: "late", ExpiresAt: time.Now().Add(-time.Second)},
	} {
		if err := w.db.AddRegistrationToken(ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	const validity = "/_matrix/client/v1/register/m.login.registration_token/validity"
	for token, want := range map[string]bool{"once": true, "ever": true, "late": false, "none": false, strings.Repeat("x", 100): false} {
		if got := w.ok("GET", validity+"?token="+token, "", nil)["valid"]; got != want {
			t.Errorf("%s is valid: %v", token, got)
		}
	}
	w.refused(400, "M_MISSING_PARAM", "GET", validity, "", nil)

	const good = "enough 4 all!"
	for bad, code := range map[string]string{"4!ü": "M_PASSWORD_TOO_SHORT", "no digit!": "M_WEAK_PASSWORD", "no5symbol": "M_WEAK_PASSWORD", "": "M_MISSING_PARAM"} {
		w.refused(400, code, "POST", "/register", "", object{"username": "alice", "password": bad})
	}
	register := func(session any, auth object, more object) (int, object) {
		t.Helper()
		auth["session"] = session
		body := object{"username": "alice", "password": good, "auth": auth}
		for k, v := range more {
			body[k] = v
		}
		return w.do("POST", "/register", "", body)
	}
	_, asked := w.do("POST", "/register", "", object{})
	if fmt.Sprint(asked["flows"]) != "[map[stages:[m.login.registration_token m.login.terms]]]" ||
		!strings.Contains(fmt.Sprint(asked["params"]), "privacy_policy:map[en:map[name:Privacy Policy url:https://test.local/privacy] version:1.2]") {
		t.Fatalf("asking for the flows: %v", asked)
	}
	session := asked["session"]
	for _, out := range []object{{"type": "m.login.terms"}, {"type": "m.login.dummy"}, {"type": "m.login.registration_token", "token": "late"},
		{"type": "m.login.registration_token", "token": "none"}} {
		if status, answer := register(session, out, nil); status != 401 || answer["errcode"] != "M_FORBIDDEN" || answer["completed"] != nil {
			t.Errorf("%v: %d %v", out, status, answer)
		}
	}
	if status, answer := register(session, object{"type": "m.login.registration_token", "token": "once"}, nil); status != 401 ||
		fmt.Sprint(answer["completed"]) != "[m.login.registration_token]" || answer["errcode"] != nil {
		t.Errorf("after the token: %d %v", status, answer)
	}
	if status, made := register(session, object{"type": "m.login.terms"}, nil); status != 200 || made["user_id"] != "@alice:test.local" {
		t.Fatalf("registering: %d %v", status, made)
	}
	if status, _ := register(session, object{"type": "m.login.terms"}, object{"username": "bob"}); status != 401 {
		t.Errorf("what was proved was good for a second account: %d", status)
	}
	if valid := w.ok("GET", validity+"?token=once", "", nil)["valid"]; valid != false {
		t.Errorf("the token can be used again")
	}
	list, err := w.db.RegistrationTokens(ctx, 10)
	if i := slices.IndexFunc(list, func(t storage.RegistrationToken) bool { return t.Token == "once" }); err != nil || i < 0 || list[i].Uses != 1 {
		t.Errorf("tokens: %v %v", list, err)
	}
	token := w.ok("POST", "/login", "", object{"type": "m.login.password", "user": "alice", "password": good})["access_token"].(string)
	auth := object{"type": "m.login.password", "user": "alice", "password": good}
	w.refused(400, "M_WEAK_PASSWORD", "POST", "/account/password", token, object{"new_password": "weak weak", "auth": auth})

	if err := w.db.DeleteRegistrationToken(ctx, "ever"); err != nil {
		t.Fatal(err)
	}
	w.contendedToken(good)
}

// contendedToken lets many who have passed with the same last token finish at once.
func (w *world) contendedToken(password string) {
	w.t.Helper()
	if err := w.db.AddRegistrationToken(background(w.t), storage.RegistrationToken{Token: "last", UsesAllowed: 1}); err != nil {
		w.t.Fatal(err)
	}
	var made atomic.Int32
	var wg sync.WaitGroup
	for i := range 6 {
		_, asked := w.do("POST", "/register", "", object{})
		body := object{"username": fmt.Sprint("many", i), "password": password}
		body["auth"] = object{"type": "m.login.registration_token", "token": "last", "session": asked["session"]}
		w.do("POST", "/register", "", body)
		for range 2 {
			wg.Go(func() {
				if status, _ := w.do("POST", "/register", "", object{"username": body["username"], "password": password,
					"auth": object{"type": "m.login.terms", "session": asked["session"]}}); status == 200 {
					made.Add(1)
				}
			})
		}
	}
	wg.Wait()
	if made.Load() != 1 {
		w.t.Errorf("a token for one account made %d", made.Load())
	}
}

// TestGuests follows a guest: into a room that admits guests, out again when it doesn't
// any more, and on to an account of their own.
func TestGuests(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.GuestsAllowed = true })
	alice := w.register("alice")
	made := w.ok("POST", "/register?kind=guest", "", object{"username": "admin", "device_id": "MINE", "initial_device_display_name": "Tab", "auth": "ignored"})
	guest, id := made["access_token"].(string), made["user_id"].(string)
	if id == "@admin:test.local" || made["device_id"] == "MINE" {
		t.Errorf("what guests wish for: %v", made)
	}
	if who := w.ok("GET", "/account/whoami", guest, nil); who["is_guest"] != true {
		t.Errorf("whoami: %v", who)
	}
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	rooms := "/rooms/" + room
	for _, no := range [][2]string{
		{"POST", "/createRoom"}, {"GET", "/joined_rooms"}, {"POST", rooms + "/invite"}, {"PUT", "/profile/" + id + "/avatar_url"},
		{"DELETE", "/profile/" + id + "/m.tz"}, {"POST", "/user/" + id + "/openid/request_token"}, {"POST", "/account/password"},
		{"POST", "/knock/" + room}, {"POST", rooms + "/join"}, {"POST", "/join/" + room}, {"GET", "/account/3pid"},
		{"PUT", "/rooms/" + room + "/state/m.room.member/" + id}, {"POST", "/_matrix/client/v1/login/get_token"},
	} {
		w.refused(403, "M_GUEST_ACCESS_FORBIDDEN", no[0], no[1], guest, object{"membership": "join"})
	}
	w.ok("PUT", "/profile/"+id+"/displayname", guest, object{"displayname": "Visitor"})
	w.ok("PUT", rooms+"/state/m.room.guest_access", alice, object{"guest_access": "can_join"})
	w.ok("POST", "/join/"+room, guest, nil)
	w.ok("PUT", rooms+"/send/m.room.message/1", guest, object{"msgtype": "m.text", "body": "hello"})
	w.ok("GET", rooms+"/messages?dir=b", guest, nil)
	hello := w.ok("PUT", rooms+"/send/m.room.message/2", guest, object{"msgtype": "m.text", "body": "again"})["event_id"].(string)
	for _, path := range []string{"/devices", "/capabilities", "/_matrix/client/v1/room_summary/" + room, "/_matrix/client/v1" + rooms + "/relations/" + hello,
		"/_matrix/client/v1" + rooms + "/threads", "/_matrix/client/v1" + rooms + "/hierarchy", "/_matrix/client/v1" + rooms + "/timestamp_to_event?ts=1&dir=f"} {
		w.ok("GET", path, guest, nil)
	}
	w.refused(404, "M_NOT_FOUND", "GET", "/voip/turnServer", guest, nil)
	w.ok("POST", "/publicRooms", guest, object{})

	w.ok("PUT", rooms+"/state/m.room.guest_access", alice, object{"guest_access": "forbidden"})
	w.eventually("the guest leaves", func() bool {
		return w.ok("GET", rooms+"/state/m.room.member/"+id, alice, nil)["membership"] == "leave"
	})
	if m := w.ok("GET", rooms+"/state/m.room.member/@alice:test.local", alice, nil)["membership"]; m != "join" {
		t.Errorf("alice: %v", m)
	}

	name, _, _ := strings.Cut(id[1:], ":")
	upgrade := object{"username": name, "password": "secret-" + name, "guest_access_token": guest, "auth": object{"type": "m.login.dummy"}}
	w.refused(403, "M_FORBIDDEN", "POST", "/register", "", object{"username": "alice", "password": "x", "guest_access_token": guest, "auth": object{"type": "m.login.dummy"}})
	w.refused(403, "M_FORBIDDEN", "POST", "/register", "", object{"username": "alice", "password": "x", "guest_access_token": alice, "auth": object{"type": "m.login.dummy"}})
	w.refused(403, "M_FORBIDDEN", "POST", "/register", "", object{"username": name, "password": "x", "guest_access_token": "none", "auth": object{"type": "m.login.dummy"}})
	if up := w.ok("POST", "/register", "", upgrade); up["user_id"] != id {
		t.Errorf("an upgraded guest: %v", up)
	}
	w.refused(403, "M_FORBIDDEN", "POST", "/register", "", upgrade) // no guest any more
	w.ok("GET", "/joined_rooms", guest, nil)
	w.login(name, nil)
	if p := w.ok("GET", "/profile/"+id, "", nil); p["displayname"] != "Visitor" {
		t.Errorf("the profile: %v", p)
	}
}

// eventually waits for something that happens in the background.
func (w *world) eventually(what string, happened func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within 30 seconds", what)
		}
	}
}

// TestTURN hands out credentials for relaying calls.
func TestTURN(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	w.refused(404, "M_NOT_FOUND", "GET", "/voip/turnServer", alice, nil)
	w.api.o.TURN = &TURN{URIs: []string{"turn:turn.test.local"}, Username: "u", Password: "p", Lifetime: time.Hour}
	if got := w.ok("GET", "/voip/turnServer", alice, nil); fmt.Sprint(got) != "map[password:p ttl:3600 uris:[turn:turn.test.local] username:u]" {
		t.Errorf("static credentials: %v", got)
	}
	w.api.o.TURN.SharedSecret = "north"
	got := w.ok("GET", "/voip/turnServer", alice, nil)
	if name := got["username"].(string); !strings.HasSuffix(name, ":@alice:test.local") || len(got["password"].(string)) != 28 {
		t.Errorf("credentials of one's own: %v", got)
	}
}

// TestNoApplicationServices asks for what only application services bring.
func TestNoApplicationServices(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	if p := w.ok("GET", "/thirdparty/protocols", alice, nil); len(p) != 0 {
		t.Errorf("protocols: %v", p)
	}
	for _, path := range []string{"protocol/irc", "location", "location/irc", "user", "user/irc"} {
		w.refused(404, "M_NOT_FOUND", "GET", "/thirdparty/"+path, alice, nil)
	}
	w.refused(403, "M_FORBIDDEN", "PUT", "/directory/list/appservice/irc/!room:test.local", alice, object{"visibility": "public"})
	w.refused(403, "M_FORBIDDEN", "POST", "/_matrix/client/v1/appservice/irc/ping", alice, object{})
}
