package clientapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestProofsOnPages has an app that shows no forms itself lead people to pages: with a password
// to remove a device, with an e-mail address to set another password.
func TestProofsOnPages(t *testing.T) {
	w, office := newMailWorld(t, nil)
	token := w.register("alice")
	w.login("alice", object{"device_id": "OLD"})
	asked := w.refused(401, "<nil>", "DELETE", "/devices/OLD", token, object{})
	fallback := func(stage string) string { return "/_matrix/client/v3/auth/" + stage + "/fallback/web" }
	res, page := w.browser(fallback(stagePassword)+"?session="+asked["session"].(string), nil)
	if res.StatusCode != http.StatusOK || !strings.Contains(page, "remove a device") || !strings.Contains(page, "@alice:test.local") {
		t.Errorf("%s %s", res.Status, page)
	}
	form := url.Values{"session": {asked["session"].(string)}, "password": {"wrong"}}
	if res, page := w.browser(fallback(stagePassword), form); res.StatusCode != http.StatusForbidden || strings.Contains(page, "wrong\"") {
		t.Errorf("a wrong password: %s %s", res.Status, page)
	}
	form.Set("password", "secret-alice")
	if res, page := w.browser(fallback(stagePassword), form); res.StatusCode != http.StatusOK || !strings.Contains(page, authDone) {
		t.Errorf("%s %s", res.Status, page)
	}
	w.ok("DELETE", "/devices/OLD", token, object{"auth": object{"session": asked["session"]}})

	creds := object{"client_secret": "s", "auth": passwordAuth("alice", "")}
	creds["sid"] = w.ok("POST", "/account/3pid/email/requestToken", "", emailRequestFor("alice@example.org", "s", 1))["sid"]
	w.visit(w.link(office, "alice@example.org"), true)
	w.ok("POST", "/account/3pid/add", token, creds)
	change := object{"new_password": "secret-changed"}
	asked = w.refused(401, "<nil>", "POST", "/account/password", "", change)
	form = url.Values{"session": {asked["session"].(string)}, "email": {"nobody"}}
	if res, page := w.browser(fallback(stageEmail), form); res.StatusCode != http.StatusForbidden {
		t.Errorf("no address: %s %s", res.Status, page)
	}
	form.Set("email", "Alice@example.org")
	res, page = w.browser(fallback(stageEmail), form)
	if res.StatusCode != http.StatusOK || !strings.Contains(page, "alice@example.org") {
		t.Fatalf("%s %s", res.Status, page)
	}
	sent := formOf(shown{text: page})
	if res, page = w.browser(fallback(stageEmail), sent); res.StatusCode != http.StatusForbidden || formOf(shown{text: page}).Get("sid") != sent.Get("sid") {
		t.Errorf("before the link was followed: %s %s", res.Status, page)
	}
	if res, _ := w.visit(w.link(office, "alice@example.org"), true); res.StatusCode != http.StatusOK {
		t.Errorf("following the link: %s", res.Status)
	}
	if res, page = w.browser(fallback(stageEmail), sent); res.StatusCode != http.StatusOK || !strings.Contains(page, authDone) {
		t.Errorf("%s %s", res.Status, page)
	}
	change["auth"] = object{"session": asked["session"]}
	w.ok("POST", "/account/password", "", change)
	w.ok("POST", "/login", "", object{"type": "m.login.password", "user": "alice", "password": "secret-changed"})
}

// TestLoginFallback is the page that logs people in for apps that can't.
func TestLoginFallback(t *testing.T) {
	w, _ := ssoWorld(t, nil)
	res, page := w.browser(loginFallbackPath+"?device_id=D", nil)
	if res.StatusCode != http.StatusOK || !strings.Contains(page, "window.matrixLogin.onLogin(answer)") || !strings.Contains(page, loginScript) ||
		!strings.Contains(page, `href="/_matrix/client/v3/login/sso/redirect/work"`) {
		t.Errorf("%s %s", res.Status, page)
	}
	if policy := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, scriptPolicy(loginScript)+"; connect-src 'self';") {
		t.Errorf("policy: %s", policy)
	}
}
