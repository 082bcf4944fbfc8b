package clientapi

import (
	"net/http"
	"net/url"
	"testing"
)

// TestPasswordChanged has alice set another password while somebody who knew the old one has ways in
// prepared: what an app was let in by, and a proof for setting a password. They end with the old password.
func TestPasswordChanged(t *testing.T) {
	w, _ := pagesWorld(t)
	token := w.register("alice")
	_, registered := w.do("POST", oauthPath+"/clients", "", webClient())
	web := registered["client_id"].(string)
	code := w.agrees(asking(web, "THIEF1"), "alice", "secret-alice").Get("code")

	television := w.deviceClient()
	waiting := w.deviceCode(television, "THIEF2")
	thief := newVisitor(t)
	page := thief.signsIn(w, waiting["verification_uri_complete"].(string), "alice")
	if page := thief.posts(w.url+oauthPath+"/link", formOf(page)); page.status != http.StatusOK {
		t.Fatalf("%d %s", page.status, page.text)
	}
	change := object{"new_password": "secret-of-a-thief"}
	session := w.refused(401, "<nil>", "POST", "/account/password", "", change)["session"].(string)
	form := url.Values{"session": {session}, "user": {"alice"}, "password": {"secret-alice"}}
	if res, page := w.browser("/_matrix/client/v3/auth/"+stagePassword+"/fallback/web", form); res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", res.Status, page)
	}

	w.ok("POST", "/account/password", token, object{"new_password": "secret-changed", "auth": passwordAuth("alice", "")})
	for _, form := range []url.Values{
		{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {web}, "redirect_uri": {"https://chat.example.org/back?x=1"}, "code_verifier": {verifier}},
		{"grant_type": {deviceGrant}, "device_code": {waiting["device_code"].(string)}, "client_id": {television}},
	} {
		if status, answer := w.token(form); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
			t.Errorf("%s: %d %v", form.Get("grant_type"), status, answer)
		}
	}
	change["auth"] = object{"session": session}
	w.refused(403, "M_FORBIDDEN", "POST", "/account/password", "", change)
	w.ok("POST", "/login", "", object{"type": stagePassword, "user": "alice", "password": "secret-changed"})
}
