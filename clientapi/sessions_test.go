package clientapi

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/internal/httpapi"
)

// TestRegister goes through making accounts, by the front door and with the
// shared secret.
func TestRegister(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.RegistrationSecret = "shared" })

	// Without auth the flows are asked for, and nothing is made.
	status, asked := w.do("POST", "/register", "", object{"username": "Alice", "password": "secret-alice"})
	if status != 401 || asked["errcode"] != nil || fmt.Sprint(asked["flows"]) != "[map[stages:[m.login.dummy]]]" || asked["session"] == "" {
		t.Fatalf("asking for the flows: %d %v", status, asked)
	}
	w.ok("GET", "/register/available?username=alice", "", nil)
	made := w.ok("POST", "/register", "", object{"username": "Alice", "password": "secret-alice", "device_id": "PHONE",
		"initial_device_display_name": "Phone", "auth": object{"type": "m.login.dummy", "session": asked["session"]}})
	if made["user_id"] != "@alice:test.local" || made["device_id"] != "PHONE" {
		t.Fatalf("registering: %v", made)
	}
	token := made["access_token"].(string)
	if who := w.ok("GET", "/account/whoami", token, nil); who["user_id"] != "@alice:test.local" || who["device_id"] != "PHONE" || who["is_guest"] != false {
		t.Errorf("whoami: %v", who)
	}

	w.refused(400, "M_USER_IN_USE", "GET", "/register/available?username=ALICE", "", nil)
	w.refused(400, "M_USER_IN_USE", "POST", "/register", "", object{"username": "alice"}) // before any stage
	w.refused(400, "M_MISSING_PARAM", "GET", "/register/available", "", nil)
	for _, bad := range []string{"al ice", "älice", "a:b", "@alice:test.local", "a\u0000", strings.Repeat("a", 250)} {
		w.refused(400, "M_INVALID_USERNAME", "POST", "/register", "", object{"username": bad})
	}
	dummy := object{"type": "m.login.dummy"}
	w.refused(400, "M_MISSING_PARAM", "POST", "/register", "", object{"username": "bob", "auth": dummy})
	w.refused(400, "M_INVALID_PARAM", "POST", "/register", "", object{"password": strings.Repeat("x", 600), "auth": dummy})
	w.refused(400, "M_INVALID_PARAM", "POST", "/register", "", object{"device_id": strings.Repeat("x", 300), "auth": dummy})
	w.refused(400, "M_INVALID_PARAM", "POST", "/register", "", object{"device_id": "a\x00b", "password": "x", "auth": dummy})
	w.refused(400, "M_BAD_JSON", "POST", "/register", "", object{"username": 3})
	w.refused(400, "M_BAD_JSON", "POST", "/register", "", object{"auth": "x"})
	w.refused(401, "M_FORBIDDEN", "POST", "/register", "", object{"auth": object{"type": "m.login.password"}})
	w.refused(403, "M_GUEST_ACCESS_FORBIDDEN", "POST", "/register?kind=guest", "", object{})

	// No name: one is made up. inhibit_login: no session.
	quiet := w.ok("POST", "/register", "", object{"password": "x", "inhibit_login": true, "auth": dummy})
	if quiet["access_token"] != nil || quiet["device_id"] != nil || !strings.HasPrefix(quiet["user_id"].(string), "@") {
		t.Errorf("inhibit_login: %v", quiet)
	}

	// Of many who want the same name one gets it.
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 8 {
		wg.Go(func() {
			status, _ := w.do("POST", "/register", "", object{"username": "wanted", "password": "x", "auth": dummy})
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	wg.Wait()
	if statuses[200] != 1 || statuses[400] != 7 {
		t.Errorf("eight registrations of one name: %v", statuses)
	}
	w.registerBySecret()

	closed := newWorld(t, func(o *Options) { o.RegistrationEnabled = false })
	closed.refused(403, "M_FORBIDDEN", "POST", "/register", "", object{"username": "x", "auth": dummy})
	closed.refused(400, "M_UNKNOWN", "GET", "/_synapse/admin/v1/register", "", nil)
}

func (w *world) registerBySecret() {
	w.t.Helper()
	const path = "/_synapse/admin/v1/register"
	nonce := w.ok("GET", path, "", nil)["nonce"].(string)
	mac := hmac.New(sha1.New, []byte("shared"))
	mac.Write([]byte(nonce + "\x00root\x00secret-root\x00admin"))
	body := object{"nonce": nonce, "username": "root", "password": "secret-root", "admin": true,
		"displayname": "Root", "mac": hex.EncodeToString(mac.Sum(nil))}
	made := w.ok("POST", path, "", body)
	user, err := w.db.GetUser(background(w.t), "@root:test.local")
	if err != nil || !user.Admin || made["home_server"] != "test.local" {
		w.t.Errorf("registering by secret: %v %+v %v", made, user, err)
	}
	if p := w.ok("GET", "/profile/@root:test.local", "", nil); p["displayname"] != "Root" {
		w.t.Errorf("display name of a registration by secret: %v", p)
	}
	w.refused(400, "M_UNKNOWN", "POST", path, "", body) // the nonce is used up
	body["nonce"] = w.ok("GET", path, "", nil)["nonce"]
	w.refused(403, "M_UNKNOWN", "POST", path, "", body)
	w.refused(400, "M_MISSING_PARAM", "POST", path, "", object{"nonce": "x"})
}

// TestSessions is the life of a user's sessions: logging in in several ways,
// refreshing, logging out.
func TestSessions(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.PublicBaseURL = "https://matrix.test.local/" })
	first := w.register("alice")

	if flows := w.ok("GET", "/login", "", nil); fmt.Sprint(flows["flows"]) != "[map[type:m.login.password] map[get_login_token:true type:m.login.token]]" {
		t.Errorf("login flows: %v", flows)
	}
	w.refused(404, "M_NOT_FOUND", "GET", "/login/sso/redirect?redirectUrl=https://app.test.local", "", nil)
	w.refused(404, "M_NOT_FOUND", "GET", "/login/sso/redirect/idp?redirectUrl=https://app.test.local", "", nil)
	for _, who := range []string{"alice", "ALICE", "@alice:test.local", "@Alice:test.local"} {
		in := w.login(who, object{"password": "secret-alice"})
		if in["user_id"] != "@alice:test.local" || in["refresh_token"] != nil || in["expires_in_ms"] != nil {
			t.Errorf("login as %s: %v", who, in)
		}
		if !strings.Contains(fmt.Sprint(in["well_known"]), "https://matrix.test.local]") {
			t.Errorf("well_known: %v", in["well_known"])
		}
	}
	w.ok("POST", "/login", "", object{"type": "m.login.password", "user": "alice", "password": "secret-alice"})
	for name, c := range map[string]struct {
		status int
		code   string
		body   object
	}{
		"wrong password":   {403, "M_FORBIDDEN", object{"password": "x"}},
		"no password":      {400, "M_MISSING_PARAM", object{"password": nil}},
		"unknown user":     {403, "M_FORBIDDEN", object{"identifier": object{"type": "m.id.user", "user": "nobody"}}},
		"other server":     {403, "M_FORBIDDEN", object{"identifier": object{"type": "m.id.user", "user": "@alice:other"}}},
		"NUL in the user":  {403, "M_FORBIDDEN", object{"identifier": object{"type": "m.id.user", "user": "a\x00"}}},
		"e-mail":           {403, "M_FORBIDDEN", object{"identifier": object{"type": "m.id.thirdparty", "medium": "email", "address": "a@b"}}},
		"phone":            {403, "M_FORBIDDEN", object{"identifier": object{"type": "m.id.phone", "country": "GB", "phone": "1"}}},
		"unknown id type":  {400, "M_UNKNOWN", object{"identifier": object{"type": "m.id.blood"}}},
		"unknown type":     {400, "M_UNKNOWN", object{"type": "m.login.nonsense"}},
		"no type":          {400, "M_MISSING_PARAM", object{"type": nil}},
		"long device id":   {400, "M_INVALID_PARAM", object{"device_id": strings.Repeat("d", 300)}},
		"long device name": {400, "M_INVALID_PARAM", object{"initial_device_display_name": strings.Repeat("d", 3000)}},
		"device id a list": {400, "M_BAD_JSON", object{"device_id": []string{}}},
	} {
		body := object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": "alice"}, "password": "secret-alice"}
		for k, v := range c.body {
			body[k] = v
		}
		if status, answer := w.do("POST", "/login", "", body); status != c.status || answer["errcode"] != c.code {
			t.Errorf("login with %s: %d %v, want %d %s", name, status, answer, c.status, c.code)
		}
	}
	// Logging in to a known device ends its earlier session.
	again := w.login("alice", object{"device_id": "FIRST"})["access_token"].(string)
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", first, nil)
	w.ok("POST", "/logout", again, nil)
	if gone := w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", again, nil); gone["soft_logout"] != false {
		t.Errorf("after a logout: %v", gone)
	}
	one, two := w.login("alice", nil)["access_token"].(string), w.login("alice", nil)["access_token"].(string)
	w.ok("GET", "/account/whoami", two, nil) // now it is in memory
	w.ok("POST", "/logout/all", one, object{})
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", one, nil)
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", two, nil)
}

// TestRefresh checks which tokens are valid at each step of refreshing.
func TestRefresh(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	in := w.login("alice", object{"refresh_token": true, "device_id": "D"})
	a1, r1 := in["access_token"].(string), in["refresh_token"].(string)
	if in["expires_in_ms"] != 3600_000.0 {
		t.Errorf("expires_in_ms: %v", in["expires_in_ms"])
	}
	refresh := func(token string) (access, next string) {
		t.Helper()
		answer := w.ok("POST", "/refresh", "", object{"refresh_token": token})
		return answer["access_token"].(string), answer["refresh_token"].(string)
	}
	a2, r2 := refresh(r1)
	a3, r3 := refresh(r1) // the answer was lost: again
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", a2, nil)
	w.refused(401, "M_UNKNOWN_TOKEN", "POST", "/refresh", "", object{"refresh_token": r2})
	w.ok("GET", "/account/whoami", a1, nil) // nothing new has been used yet
	if who := w.ok("GET", "/account/whoami", a3, nil); who["device_id"] != "D" {
		t.Errorf("a refreshed token belongs to %v", who)
	}
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", a1, nil)
	w.refused(401, "M_UNKNOWN_TOKEN", "POST", "/refresh", "", object{"refresh_token": r1})

	a4, r4 := refresh(r3)
	a5, _ := refresh(r4) // using the new refresh token retires the old pair as well
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", a3, nil)
	w.ok("GET", "/account/whoami", a4, nil)
	w.ok("GET", "/account/whoami", a5, nil)
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", a4, nil)
	w.refused(400, "M_MISSING_PARAM", "POST", "/refresh", "", object{})

	short := newWorld(t, func(o *Options) { o.AccessTokenLifetime = time.Nanosecond })
	short.register("bob")
	in = short.login("bob", object{"refresh_token": true})
	if expired := short.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", in["access_token"].(string), nil); expired["soft_logout"] != true {
		t.Errorf("an expired token: %v", expired)
	}
	short.ok("POST", "/refresh", "", object{"refresh_token": in["refresh_token"]})
}

// TestLocked checks that a locked account can do nothing but log out.
func TestLocked(t *testing.T) {
	w := newWorld(t, nil)
	token := w.register("alice")
	w.ok("GET", "/account/whoami", token, nil)
	ctx := background(t)
	if err := w.lock(ctx, "@alice:test.local", true); err != nil {
		t.Fatal(err)
	}
	if locked := w.refused(401, "M_USER_LOCKED", "GET", "/account/whoami", token, nil); locked["soft_logout"] != true {
		t.Errorf("a locked account: %v", locked)
	}
	w.refused(401, "M_USER_LOCKED", "POST", "/login", "", object{"type": "m.login.password", "user": "alice", "password": "secret-alice"})
	if err := w.lock(ctx, "@alice:test.local", false); err != nil {
		t.Fatal(err)
	}
	w.ok("GET", "/account/whoami", token, nil)
	if err := w.lock(ctx, "@alice:test.local", true); err != nil {
		t.Fatal(err)
	}
	w.ok("POST", "/logout", token, nil)
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", token, nil)
}

// TestLoginLimit guesses a password until the account is closed to guessing.
func TestLoginLimit(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.LoginLimit = httpapi.Limit{PerSecond: 0.001, Burst: 2} })
	w.register("alice")
	guess := object{"type": "m.login.password", "user": "@alice:test.local", "password": "guess"}
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", guess)
	guess["user"] = "ALICE"
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", guess)
	if limited := w.refused(429, "M_LIMIT_EXCEEDED", "POST", "/login", "", guess); limited["retry_after_ms"] == nil {
		t.Errorf("no retry_after_ms: %v", limited)
	}
}
