package clientapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"hearth/internal/idp"
	"hearth/internal/testenv/elsewhere"
	"hearth/storage"
)

// pagesWorld is a server with the OAuth 2.0 API whose people sign in by password or at a provider.
func pagesWorld(t *testing.T) (*world, *elsewhere.Provider) {
	return ssoWorld(t, func(o *Options, _ *idp.Options) { o.OAuthKey, o.RegistrationEnabled = []byte("key of the test"), true })
}

var hiddenField = regexp.MustCompile(`<(?:input type="hidden"|button) name="([^"]+)" value="([^"]*)"`)

// formOf is what the forms of a page hold, if one goes on.
func formOf(page shown) url.Values {
	form := url.Values{}
	for _, field := range hiddenField.FindAllStringSubmatch(page.text, -1) {
		form.Set(field[1], strings.NewReplacer("&amp;", "&", "&#43;", "+").Replace(field[2]))
	}
	form.Del("cancel")
	form.Del("other")
	return form
}

// masterKey is a master key of a user's.
func masterKey(userID, seed string) object {
	sum := sha256.Sum256([]byte(seed))
	text := base64.RawStdEncoding.EncodeToString(sum[:])
	return object{"user_id": userID, "usage": []string{"master"}, "keys": object{"ed25519:" + text: text}}
}

// signsIn signs in by password where a page asks for it, and returns where that leads.
func (v *visitor) signsIn(w *world, to, name string) shown {
	v.t.Helper()
	page := v.follow(to, w.url)
	form := formOf(page)
	form.Set("user", name)
	form.Set("password", "secret-"+name)
	answer := v.read(v.http.PostForm(w.url+signInPath, form))
	if answer.status != http.StatusSeeOther {
		v.t.Fatalf("%d %s", answer.status, answer.text)
	}
	return v.follow(answer.location.String(), w.url)
}

func (v *visitor) posts(to string, form url.Values, more ...string) shown {
	v.t.Helper()
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return v.read(v.http.PostForm(to, form))
}

// deviceClient is an app that can't lead people to a page.
func (w *world) deviceClient() string {
	w.t.Helper()
	status, registered := w.do("POST", oauthPath+"/clients", "", object{"client_name": "TV", "client_uri": "https://tv.example.org/",
		"token_endpoint_auth_method": "none", "grant_types": []string{deviceGrant, "refresh_token", "made up"}, "application_type": "native"})
	if status != http.StatusCreated || len(registered["grant_types"].([]any)) != 2 {
		w.t.Fatalf("%d %v", status, registered)
	}
	return registered["client_id"].(string)
}

func (w *world) deviceCode(clientID, device string) object {
	w.t.Helper()
	res, body := w.browser(oauthPath+"/device", url.Values{"client_id": {clientID}, "scope": {apiScope + " " + deviceScope + device}})
	var answer object
	if err := json.Unmarshal([]byte(body), &answer); err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s", res.Status, body)
	}
	return answer
}

// TestDeviceGrant lets a television in by a code that alice types on her phone.
func TestDeviceGrant(t *testing.T) {
	w, _ := pagesWorld(t)
	w.register("alice")
	id := w.deviceClient()
	code := w.deviceCode(id, "TELEVISION")
	poll := url.Values{"grant_type": {deviceGrant}, "device_code": {code["device_code"].(string)}, "client_id": {id}}
	asks := func(want string) object {
		t.Helper()
		status, answer := w.token(poll)
		if got, _ := answer["error"].(string); got != want || (status == http.StatusOK) != (want == "") {
			t.Errorf("%d %v, want %q", status, answer, want)
		}
		return answer
	}
	asks("authorization_pending")
	asks("slow_down")
	w.api.oauth.devices.interval = 0
	asks("authorization_pending")

	alice := newVisitor(t)
	page := alice.signsIn(w, code["verification_uri_complete"].(string), "alice")
	if page.status != http.StatusOK || !strings.Contains(page.text, "TV") || !strings.Contains(page.text, code["user_code"].(string)) {
		t.Fatalf("%d %s", page.status, page.text)
	}
	link := w.url + oauthPath + "/link"
	if page := alice.read(alice.http.Get(link + "?user_code=BBBB-BBBB")); page.status != http.StatusNotFound {
		t.Errorf("a code that is none: %d", page.status)
	}
	if page := alice.posts(link, formOf(page), "as", "@bob:test.local"); page.location == nil {
		t.Errorf("as somebody else: %d", page.status)
	}
	asks("authorization_pending")
	if page := alice.posts(link, formOf(page)); page.status != http.StatusOK || !strings.Contains(page.text, "Done") {
		t.Errorf("%d %s", page.status, page.text)
	}
	if page := alice.posts(link, formOf(page)); page.status != http.StatusNotFound {
		t.Errorf("for the second time: %d", page.status)
	}
	stolen := url.Values{"grant_type": {deviceGrant}, "device_code": poll["device_code"], "client_id": {"another"}}
	if status, answer := w.token(stolen); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("another client: %d %v", status, answer)
	}
	session := asks("")
	if who := w.ok("GET", "/account/whoami", session["access_token"].(string), nil); who["user_id"] != "@alice:test.local" || who["device_id"] != "TELEVISION" {
		t.Errorf("who: %v", who)
	}
	asks("invalid_grant") // a code is good once

	code = w.deviceCode(id, "TELEVISION")
	poll.Set("device_code", code["device_code"].(string))
	page = alice.read(alice.http.Get(link + "?user_code=" + url.QueryEscape(strings.ToLower(strings.ReplaceAll(code["user_code"].(string), "-", " ")))))
	alice.posts(link, formOf(page), "cancel", "1")
	asks("access_denied")

	code = w.deviceCode(id, "TELEVISION")
	poll.Set("device_code", code["device_code"].(string))
	q, _ := w.api.oauth.devices.byDevice.Get(hashToken(code["device_code"].(string)))
	q.expiresAt = time.Now()
	asks("expired_token")

	for _, form := range []url.Values{{"client_id": {id}, "scope": {apiScope}}, {"client_id": {"x"}, "scope": {apiScope + " " + deviceScope + "D"}}} {
		if res, body := w.browser(oauthPath+"/device", form); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%v: %s %s", form, res.Status, body)
		}
	}
}

// TestAuthorizeSignedIn has anna, who has no password, agree on the page after signing in at her
// provider.
func TestAuthorizeSignedIn(t *testing.T) {
	w, p := pagesWorld(t)
	_, registered := w.do("POST", oauthPath+"/clients", "", webClient())
	ask := asking(registered["client_id"].(string), "WEBDEVICE1")
	anna := newVisitor(t)
	page := anna.read(anna.http.Get(w.url + oauthPath + "/authorize?" + ask.Encode()))
	button := regexp.MustCompile(`href="([^"]+sso/begin[^"]+)"`).FindStringSubmatch(page.text)
	if button == nil {
		t.Fatalf("%d %s", page.status, page.text)
	}
	p.Is("17", "anna")
	page = anna.follow(strings.ReplaceAll(button[1], "&amp;", "&"), w.url, p.URL)
	form := formOf(page)
	if page.status != http.StatusOK || form.Get("as") != "@anna:test.local" || form.Get("state") != "st&ate" {
		t.Fatalf("%d %v %s", page.status, form, page.text)
	}
	if page := newVisitor(t).posts(w.url+oauthPath+"/authorize", form); page.status != http.StatusForbidden {
		t.Errorf("somebody who isn't signed in: %d %v", page.status, page.location)
	}
	page = anna.posts(w.url+oauthPath+"/authorize", form)
	if page.status != http.StatusSeeOther || !strings.HasPrefix(page.location.String(), "https://chat.example.org/back?x=1#code=") {
		t.Fatalf("%d %v %s", page.status, page.location, page.text)
	}
	code, err := url.ParseQuery(page.location.Fragment)
	if err != nil {
		t.Fatal(err)
	}
	exchange := url.Values{"grant_type": {"authorization_code"}, "code": {code.Get("code")}, "client_id": ask["client_id"],
		"redirect_uri": ask["redirect_uri"], "code_verifier": {verifier}}
	status, session := w.token(exchange)
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, session)
	}
	if page := anna.posts(w.url+oauthPath+"/authorize", form, "other", "1"); !strings.Contains(page.text, `name="password"`) {
		t.Errorf("somebody else: %d %s", page.status, page.text)
	}
	form.Del("other")
	if page := anna.posts(w.url+oauthPath+"/authorize", form); page.status != http.StatusForbidden {
		t.Errorf("after going: %d", page.status)
	}
	for _, bad := range []string{"https://evil.example.org/", "//evil.example.org", "/_hearth/oauth/../evil", accountPath + "/..", "/_matrix/client/versions", "/%5Cevil"} {
		if page := anna.read(anna.http.Get(w.url + ssoPath + "/begin?provider=work&page=" + url.QueryEscape(bad))); page.status != http.StatusBadRequest {
			t.Errorf("%s: %d %v", bad, page.status, page.location)
		}
	}
}

// TestAccountPage is what alice does on the page to which apps lead her.
func TestAccountPage(t *testing.T) {
	w, _ := pagesWorld(t)
	token := w.register("alice")
	w.login("alice", object{"device_id": "OLD", "initial_device_display_name": "my old <phone>"})
	meta := w.ok("GET", "/_matrix/client/v1/auth_metadata", "", nil)
	account := meta["account_management_uri"].(string)
	alice := newVisitor(t)
	page := alice.signsIn(w, account+"?action=org.matrix.device_delete&device_id=OLD", "alice")
	form := formOf(page)
	if page.status != http.StatusOK || form.Get("device_id") != "OLD" || !strings.Contains(page.text, "my old &lt;phone&gt;") || strings.Contains(page.text, "FIRST") {
		t.Fatalf("%d %s", page.status, page.text)
	}
	if page := newVisitor(t).posts(account, form, "do", "delete"); page.location == nil || page.location.Path != signInPath {
		t.Errorf("without signing in: %d", page.status)
	}
	w.ok("GET", "/devices/OLD", token, nil)
	if page := alice.posts(account, form, "do", "delete"); page.status != http.StatusOK || !strings.Contains(page.text, "logged out") {
		t.Errorf("%d %s", page.status, page.text)
	}
	w.refused(404, "M_NOT_FOUND", "GET", "/devices/OLD", token, nil)
	as := url.Values{"as": {"@alice:test.local"}}
	if page := alice.posts(account, as, "do", "rename", "name", "Alice & Co"); !strings.Contains(page.text, `value="Alice &amp; Co"`) {
		t.Errorf("%d %s", page.status, page.text)
	}
	if page := alice.posts(account, as, "do", "rename", "name", strings.Repeat("x", 1001)); !strings.Contains(page.text, "longer than") {
		t.Errorf("%d %s", page.status, page.text)
	}
	if got := w.ok("GET", "/profile/@alice:test.local", token, nil); got["displayname"] != "Alice & Co" {
		t.Errorf("profile: %v", got)
	}

	// Somebody who set another password is signed in no more.
	if err := w.db.SetPassword(t.Context(), "@alice:test.local", "another"); err != nil {
		t.Fatal(err)
	}
	if page := alice.posts(account, as, "do", "deactivate", "sure", "1"); page.location == nil {
		t.Errorf("after another password: %d", page.status)
	}
	w.register("bob")
	bob := newVisitor(t)
	bob.signsIn(w, account+"?action=org.matrix.account_deactivate", "bob")
	as = url.Values{"as": {"@bob:test.local"}}
	if page := bob.posts(account, as, "do", "deactivate"); !strings.Contains(page.text, "Nothing was done") {
		t.Errorf("%d %s", page.status, page.text)
	}
	if page := bob.posts(account, as, "sure", "1"); !strings.Contains(page.text, "was closed") {
		t.Errorf("%d %s", page.status, page.text)
	}
	w.refused(403, "M_USER_DEACTIVATED", "POST", "/login", "", object{"type": "m.login.password", "user": "bob", "password": "secret-bob"})
}

// TestResetOnPage replaces cross-signing keys by a client that has come by OAuth 2.0, which can't
// ask for a password.
func TestResetOnPage(t *testing.T) {
	w, _ := pagesWorld(t)
	w.register("alice")
	id := w.deviceClient()
	code := w.deviceCode(id, "TELEVISION")
	alice := newVisitor(t)
	page := alice.signsIn(w, code["verification_uri_complete"].(string), "alice")
	alice.posts(w.url+oauthPath+"/link", formOf(page))
	_, session := w.token(url.Values{"grant_type": {deviceGrant}, "device_code": {code["device_code"].(string)}, "client_id": {id}})
	token := session["access_token"].(string)
	const upload = "/keys/device_signing/upload"
	w.ok("POST", upload, token, object{"master_key": masterKey("@alice:test.local", "first")})
	second := object{"master_key": masterKey("@alice:test.local", "second")}
	asked := w.refused(401, "<nil>", "POST", upload, token, second)
	flow := asked["flows"].([]any)[0].(object)["stages"].([]any)[0]
	where := asked["params"].(object)["m.oauth"].(object)["url"].(string)
	if flow != "m.oauth" || !strings.HasPrefix(where, w.url+accountPath+"?action=org.matrix.cross_signing_reset&session=") {
		t.Fatalf("%v", asked)
	}
	second["auth"] = object{"session": asked["session"]}
	w.refused(401, "<nil>", "POST", upload, token, second)

	w.register("mallory")
	mallory := newVisitor(t)
	if page := mallory.signsIn(w, where, "mallory"); strings.Contains(page.text, `value="reset"`) {
		t.Errorf("offered to somebody else: %s", page.text)
	}
	mallory.posts(w.url+accountPath, url.Values{"as": {"@mallory:test.local"}, "do": {"reset"}, "session": {asked["session"].(string)}})
	w.refused(401, "<nil>", "POST", upload, token, second)
	if page := alice.follow(w.url+"/_matrix/client/v3/auth/m.oauth/fallback/web?session="+asked["session"].(string), w.url); !strings.Contains(page.text, `value="reset"`) {
		t.Errorf("the fallback: %d %s", page.status, page.text)
	}
	page = alice.follow(where, w.url)
	if page = alice.posts(w.url+accountPath, formOf(page), "do", "reset"); !strings.Contains(page.text, authDone) {
		t.Errorf("%d %s", page.status, page.text)
	}
	w.ok("POST", upload, token, second)
}

// TestRegisterOnPage makes an account where a client leads with prompt=create.
func TestRegisterOnPage(t *testing.T) {
	w := worldAt(t, func(o *Options, base string) {
		o.OAuthKey, o.PublicBaseURL, o.RegistrationTokenRequired = []byte("key of the test"), base, true
		o.Terms = &Terms{Version: "1", Language: "en", ServiceURL: "https://hearth.test/terms"}
		o.PasswordPolicy.MinLength = 8
	})
	if err := w.db.AddRegistrationToken(t.Context(), storage.RegistrationToken{Token: "let-me-in"}); err != nil {
		t.Fatal(err)
	}
	if meta := w.ok("GET", "/_matrix/client/v1/auth_metadata", "", nil); fmt.Sprint(meta["prompt_values_supported"]) != "[create]" {
		t.Errorf("%v", meta)
	}
	_, registered := w.do("POST", oauthPath+"/clients", "", webClient())
	ask := asking(registered["client_id"].(string), "WEBDEVICE1")
	ask.Set("prompt", "create")
	nora := newVisitor(t)
	page := nora.follow(w.url+oauthPath+"/authorize?"+ask.Encode(), w.url)
	if page.status != http.StatusOK || !strings.Contains(page.text, "https://hearth.test/terms") {
		t.Fatalf("%d %s", page.status, page.text)
	}
	good := map[string]string{"user": "Nora", "password": "secret-nora", "again": "secret-nora", "token": "let-me-in", "agreed": "1"}
	for name, value := range map[string]string{"user": "no ra", "password": "short", "again": "other", "token": "guessed", "agreed": ""} {
		form := formOf(page)
		for k, v := range good {
			form.Set(k, v)
		}
		form.Set(name, value)
		if name == "password" {
			form.Set("again", value)
		}
		if value == "" {
			form.Del(name)
		}
		if page := nora.posts(w.url+registerPath, form); page.status != http.StatusForbidden || !strings.Contains(page.text, `role="alert"`) {
			t.Errorf("%s=%q: %d %s", name, value, page.status, page.text)
		}
	}
	form := formOf(page)
	for k, v := range good {
		form.Set(k, v)
	}
	made := nora.posts(w.url+registerPath, form)
	if made.status != http.StatusSeeOther {
		t.Fatalf("%d %s", made.status, made.text)
	}
	page = nora.follow(made.location.String(), w.url)
	if form := formOf(page); form.Get("as") != "@nora:test.local" || form.Get("state") != "st&ate" {
		t.Errorf("%d %s", page.status, page.text)
	}
	if page := nora.posts(w.url+registerPath, form); page.status != http.StatusForbidden || !strings.Contains(page.text, "taken") {
		t.Errorf("a name that is taken: %d %s", page.status, page.text)
	}
}
