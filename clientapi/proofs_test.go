package clientapi

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"hearth/storage"
)

// TestLoginToken logs another device in by a token of one's own: once, soon, and only
// after proving oneself.
func TestLoginToken(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	const path = "/_matrix/client/v1/login/get_token"
	status, asked := w.do("POST", path, alice, object{})
	if status != 401 || fmt.Sprint(asked["flows"]) != "[map[stages:[m.login.password]]]" {
		t.Fatalf("asking for the flows: %d %v", status, asked)
	}
	newToken := func() object {
		t.Helper()
		answer := w.ok("POST", path, alice, object{"auth": passwordAuth("alice", "")})
		if answer["expires_in_ms"].(float64) < 1 {
			t.Errorf("a login token: %v", answer)
		}
		return object{"type": "m.login.token", "token": answer["login_token"]}
	}
	login := newToken()
	var good atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if status, answer := w.do("POST", "/login", "", login); status == 200 && answer["user_id"] == "@alice:test.local" {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 {
		t.Errorf("one token was good for %d logins", good.Load())
	}
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", login)
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", object{"type": "m.login.token", "token": "hearth_lt_x"})
	w.refused(400, "M_MISSING_PARAM", "POST", "/login", "", object{"type": "m.login.token"})

	old := newToken()
	if err := w.db.AddProof(background(t), storage.ProofOfLogin, "@alice:test.local", hashToken("late"), -1); err != nil {
		t.Fatal(err)
	}
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", object{"type": "m.login.token", "token": "late"})
	w.ok("POST", "/account/password", alice, object{"new_password": "secret-alice", "auth": passwordAuth("alice", "")})
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", old)

	locked := newToken()
	if err := w.lock(background(t), "@alice:test.local", true); err != nil {
		t.Fatal(err)
	}
	w.refused(401, "M_USER_LOCKED", "POST", "/login", "", locked)
	if err := w.lock(background(t), "@alice:test.local", false); err != nil {
		t.Fatal(err)
	}
	gone := newToken()
	w.ok("POST", "/account/deactivate", alice, object{"auth": passwordAuth("alice", "")})
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", gone)
}

// TestOpenID shows a third party who a user is.
func TestOpenID(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	const request, userinfo = "/user/@alice:test.local/openid/request_token", "/_matrix/federation/v1/openid/userinfo?access_token="
	answer := w.ok("POST", request, alice, object{})
	token := answer["access_token"].(string)
	if answer["token_type"] != "Bearer" || answer["matrix_server_name"] != "test.local" || answer["expires_in"] != 3600.0 {
		t.Errorf("an OpenID token: %v", answer)
	}
	for range 2 {
		if sub := w.ok("GET", userinfo+token, "", nil)["sub"]; sub != "@alice:test.local" {
			t.Errorf("sub: %v", sub)
		}
	}
	w.refused(403, "M_FORBIDDEN", "POST", "/user/@bob:test.local/openid/request_token", alice, object{})
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", userinfo+"x", "", nil)
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", userinfo+alice, "", nil)
	w.refused(401, "M_MISSING_TOKEN", "GET", userinfo, "", nil)
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", token, nil)
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", object{"type": "m.login.token", "token": token})
	for range 60 {
		w.ok("POST", request, alice, nil)
	}
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", userinfo+token, "", nil) // too many came later
	if err := w.lock(background(t), "@alice:test.local", true); err != nil {
		t.Fatal(err)
	}
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", userinfo+token, "", nil)
}
