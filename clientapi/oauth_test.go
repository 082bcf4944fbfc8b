package clientapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// browser sends a form, or asks for a page if there is none, and returns the answer and its
// body. It follows no redirects.
func (w *world) browser(path string, form url.Values) (*http.Response, string) {
	w.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var res *http.Response
	var err error
	if form == nil {
		res, err = client.Get(w.url + path)
	} else {
		res, err = client.PostForm(w.url+path, form)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, string(body)
}

// token asks the token endpoint.
func (w *world) token(form url.Values) (int, object) {
	w.t.Helper()
	res, body := w.browser(oauthPath+"/token", form)
	var answer object
	if err := json.Unmarshal([]byte(body), &answer); err != nil || res.Header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("%s %s", res.Status, body)
	}
	return res.StatusCode, answer
}

func oauthWorld(t *testing.T) *world {
	return newWorld(t, func(o *Options) { o.OAuthKey, o.PublicBaseURL = []byte("key of the test"), "https://hearth.test" })
}

// webClient is what a web client says of itself.
func webClient() object {
	return object{"client_name": "Chat", "client_uri": "https://chat.example.org/", "redirect_uris": []string{"https://chat.example.org/back?x=1"},
		"token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"application_type": "web", "tos_uri": "https://chat.example.org/terms"}
}

const verifier = "a-verifier-that-is-long-enough-to-be-one-0123456789"

func asking(clientID, device string) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	return url.Values{"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {"https://chat.example.org/back?x=1"}, "state": {"st&ate"},
		"response_mode": {"fragment"}, "scope": {"openid " + apiScope + " " + deviceScope + device},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
}

// agrees fills the form in and returns where it leads.
func (w *world) agrees(form url.Values, name, password string) url.Values {
	w.t.Helper()
	form.Set("user", name)
	form.Set("password", password)
	res, body := w.browser(oauthPath+"/authorize", form)
	location, params, ok := strings.Cut(res.Header.Get("Location"), "#")
	if res.StatusCode != http.StatusSeeOther || !ok || location != "https://chat.example.org/back?x=1" {
		w.t.Fatalf("%s %v %s", res.Status, res.Header, body)
	}
	got, err := url.ParseQuery(params)
	if err != nil || got.Get("state") != "st&ate" {
		w.t.Fatalf("%v %v", got, err)
	}
	return got
}

// TestOAuth has a client register itself, lead alice to the page, exchange the code, refresh
// and log out, as Element does.
func TestOAuth(t *testing.T) {
	w := oauthWorld(t)
	w.register("alice")
	if m := w.ok("GET", "/_matrix/client/v1/auth_metadata", "", nil); m["token_endpoint"] != "https://hearth.test"+oauthPath+"/token" {
		t.Errorf("metadata: %v", m)
	}
	status, registered := w.do("POST", oauthPath+"/clients", "", webClient())
	id, _ := registered["client_id"].(string)
	if _, again := w.do("POST", oauthPath+"/clients", "", webClient()); status != http.StatusCreated || id == "" || again["client_id"] != id {
		t.Fatalf("registered: %d %v, again: %v", status, registered, again)
	}
	ask := asking(id, "WEBDEVICE1")
	res, page := w.browser(oauthPath+"/authorize?"+ask.Encode(), nil)
	policy := res.Header.Get("Content-Security-Policy")
	if res.StatusCode != http.StatusOK || !strings.Contains(page, "Chat") || !strings.Contains(page, `value="st&amp;ate"`) ||
		!strings.Contains(policy, "form-action 'self' https://chat.example.org;") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("%s %s\n%s", res.Status, policy, page)
	}
	wrong := asking(id, "WEBDEVICE1")
	wrong.Set("user", "alice")
	wrong.Set("password", "guess")
	if res, page := w.browser(oauthPath+"/authorize", wrong); res.StatusCode != http.StatusForbidden || !strings.Contains(page, "Wrong user name or password") || strings.Contains(page, "guess") {
		t.Errorf("a wrong password: %s\n%s", res.Status, page)
	}
	code := w.agrees(ask, "alice", "secret-alice").Get("code")
	exchange := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {id}, "redirect_uri": {"https://chat.example.org/back?x=1"}, "code_verifier": {verifier}}
	for name, value := range map[string]string{"code_verifier": verifier + "x", "client_id": "x", "redirect_uri": "https://chat.example.org/", "code": "x"} {
		changed := url.Values{}
		for k, v := range exchange {
			changed[k] = v
		}
		changed.Set(name, value)
		if status, answer := w.token(changed); status != 400 || answer["error"] != "invalid_grant" {
			t.Errorf("with another %s: %d %v", name, status, answer)
		}
	}
	status, session := w.token(exchange)
	if status != http.StatusOK || session["token_type"] != "Bearer" || session["expires_in"] != time.Hour.Seconds() || session["scope"] != apiScope+" "+deviceScope+"WEBDEVICE1" {
		t.Fatalf("%d %v", status, session)
	}
	access := session["access_token"].(string)
	if who := w.ok("GET", "/account/whoami", access, nil); who["user_id"] != "@alice:test.local" || who["device_id"] != "WEBDEVICE1" {
		t.Errorf("who: %v", who)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {session["refresh_token"].(string)}, "client_id": {"another"}}
	if status, answer := w.token(refresh); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("refreshing as another client: %d %v", status, answer)
	}
	refresh.Set("client_id", id)
	if status, session = w.token(refresh); status != http.StatusOK {
		t.Fatalf("refreshing: %d %v", status, session)
	}
	newest := session["access_token"].(string)
	w.ok("GET", "/account/whoami", newest, nil)
	if res, _ := w.browser(oauthPath+"/revoke", url.Values{"token": {session["refresh_token"].(string)}}); res.StatusCode != http.StatusOK {
		t.Errorf("revoking: %s", res.Status)
	}
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", newest, nil)
	if res, _ := w.browser(oauthPath+"/revoke", url.Values{"token": {"unknown"}}); res.StatusCode != http.StatusOK {
		t.Errorf("revoking what is none: %s", res.Status)
	}

	// A code that comes twice has been stolen: its session ends.
	exchange.Set("code", w.agrees(asking(id, "STOLEN"), "@alice:test.local", "secret-alice").Get("code"))
	_, session = w.token(exchange)
	if status, answer := w.token(exchange); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("a code for the second time: %d %v", status, answer)
	}
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", session["access_token"].(string), nil)
	cancel := asking(id, "WEBDEVICE1")
	cancel.Set("cancel", "1")
	if got := w.agrees(cancel, "", ""); got.Get("error") != "access_denied" || got.Has("code") {
		t.Errorf("cancelled: %v", got)
	}
}

// TestOAuthRefusals are requests with which nobody may be led anywhere.
func TestOAuthRefusals(t *testing.T) {
	w := oauthWorld(t)
	_, registered := w.do("POST", oauthPath+"/clients", "", webClient())
	id := registered["client_id"].(string)
	for name, value := range map[string]string{"client_id": id[:len(id)-2] + "AA", "redirect_uri": "https://evil.example.org/"} {
		ask := asking(id, "D")
		ask.Set(name, value)
		res, page := w.browser(oauthPath+"/authorize?"+ask.Encode(), nil)
		if res.StatusCode != http.StatusBadRequest || res.Header.Get("Location") != "" || strings.Contains(page, "<form") {
			t.Errorf("%s: %s %v", name, res.Status, res.Header)
		}
	}
	for _, c := range []struct{ name, value, want string }{
		{"response_type", "token", "unsupported_response_type"}, {"code_challenge_method", "plain", "invalid_request"}, {"code_challenge", "", "invalid_request"},
		{"scope", apiScope, "invalid_scope"}, {"scope", deviceScope + "D", "invalid_scope"}, {"scope", apiScope + " " + deviceScope + "D " + deviceScope + "E", "invalid_scope"},
		{"response_mode", "form_post", "invalid_request"},
	} {
		ask := asking(id, "D")
		ask.Set(c.name, c.value)
		res, _ := w.browser(oauthPath+"/authorize?"+ask.Encode(), nil)
		if res.StatusCode != http.StatusSeeOther || !strings.Contains(res.Header.Get("Location"), "error="+c.want) {
			t.Errorf("%s=%s: %s %s", c.name, c.value, res.Status, res.Header.Get("Location"))
		}
	}
	for _, c := range []struct {
		application, uri string
		good             bool
	}{
		{"web", "https://app.chat.example.org:5173/?q=v", true}, {"web", "https://example.org/", false}, {"web", "http://chat.example.org/", false},
		{"web", "https://chat.example.org/#f", false}, {"web", "https://evilchat.example.org/", false}, {"web", "http://localhost/", false},
		{"web", "https://user@chat.example.org/", false}, {"web", "org.example.chat:/back", false}, {"web", "javascript:alert(1)", false},
		{"native", "org.example.chat:/back", true}, {"native", "org.example.chat.app:back", true}, {"native", "org.example.chat://back", false},
		{"native", "org.example:/back", false}, {"native", "http://127.0.0.1/back", true}, {"native", "http://[::1]/back", true},
		{"native", "http://localhost:1234/back", false}, {"native", "https://localhost/back", false}, {"native", "javascript:alert(1)", false},
	} {
		client := webClient()
		client["application_type"], client["redirect_uris"] = c.application, []string{c.uri}
		if status, answer := w.do("POST", oauthPath+"/clients", "", client); (status == http.StatusCreated) != c.good {
			t.Errorf("%s %s: %d %v", c.application, c.uri, status, answer)
		}
	}
	client := webClient()
	client["application_type"], client["redirect_uris"] = "native", []string{"http://127.0.0.1/back"}
	_, native := w.do("POST", oauthPath+"/clients", "", client)
	ask := asking(native["client_id"].(string), "D")
	ask.Set("redirect_uri", "http://127.0.0.1:49152/back")
	if res, _ := w.browser(oauthPath+"/authorize?"+ask.Encode(), nil); res.StatusCode != http.StatusOK {
		t.Errorf("a port on loopback: %s", res.Status)
	}
	for name, value := range map[string]any{"client_uri": "http://chat.example.org/", "token_endpoint_auth_method": "client_secret_basic",
		"tos_uri": "https://elsewhere.example.org/", "redirect_uris": []string{}, "client_name": strings.Repeat("x", 3000)} {
		client := webClient()
		client[name] = value
		if status, answer := w.do("POST", oauthPath+"/clients", "", client); status != http.StatusBadRequest || answer["error"] == nil {
			t.Errorf("%s %v: %d %v", name, value, status, answer)
		}
	}
	off := newWorld(t, nil)
	off.refused(404, "M_UNRECOGNIZED", "GET", "/_matrix/client/v1/auth_metadata", "", nil)
}
