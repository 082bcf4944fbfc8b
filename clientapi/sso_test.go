package clientapi

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"hearth/internal/idp"
	"hearth/internal/testenv/elsewhere"
)

// ssoWorld is a server whose people sign in at a provider; change, if not nil, adjusts how.
func ssoWorld(t *testing.T, change func(*Options, *idp.Options)) (*world, *elsewhere.Provider) {
	p := elsewhere.NewProvider(t)
	w := worldAt(t, func(o *Options, base string) {
		o.PublicBaseURL, o.ClientURLs, o.RegistrationEnabled = base+"/", []string{"https://trusted.example.org"}, false
		po := idp.Options{ID: "work", Name: "Work", Issuer: p.URL, ClientID: elsewhere.ProviderClient, ClientSecret: elsewhere.ProviderSecret,
			RedirectURL: base + SSOCallbackPath, Localpart: "{{.preferred_username}}", DisplayName: "{{.name}}", Register: true}
		if change != nil {
			change(o, &po)
		}
		known, err := idp.New(po)
		if err != nil {
			t.Fatal(err)
		}
		o.SSO = []*idp.Provider{known}
	})
	return w, p
}

// visitor is a browser with cookies.
type visitor struct {
	t    testing.TB
	http *http.Client
}

func newVisitor(t testing.TB) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is what a browser shows.
type shown struct {
	status   int
	location *url.URL // nil for a page
	text     string
}

func (v *visitor) read(res *http.Response, err error) shown {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	location, _ := res.Location()
	return shown{res.StatusCode, location, string(text)}
}

// follow opens a URL and goes where it is led, as long as that is on one of the hosts.
func (v *visitor) follow(to string, hosts ...string) shown {
	v.t.Helper()
	for range 10 {
		page := v.read(v.http.Get(to))
		if page.location == nil || !contains(hosts, "http://"+page.location.Host) {
			return page
		}
		to = page.location.String()
	}
	v.t.Fatal("led around in circles")
	return shown{}
}

func contains(list []string, s string) bool {
	return strings.Contains(strings.Join(list, " ")+" ", s+" ")
}

var hiddenToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

// confirms presses a button of the page that asks whether to go on.
func (v *visitor) confirms(w *world, page shown, extra ...string) shown {
	v.t.Helper()
	token := hiddenToken.FindStringSubmatch(page.text)
	if page.status != http.StatusOK || token == nil {
		v.t.Fatalf("%d %s", page.status, page.text)
	}
	form := url.Values{"token": {token[1]}}
	for _, name := range extra {
		form.Set(name, "1")
	}
	return v.read(v.http.PostForm(w.url+ssoPath+"/confirm", form))
}

func redirectTo(w *world, client string) string {
	return w.url + "/_matrix/client/v3/login/sso/redirect/work?redirectUrl=" + url.QueryEscape(client)
}

// logsIn logs in with the token with which a client was led back to.
func (w *world) logsIn(page shown) object {
	w.t.Helper()
	if page.status != http.StatusSeeOther || page.location == nil || len(page.location.Query()["loginToken"]) != 1 {
		w.t.Fatalf("%d %v %s", page.status, page.location, page.text)
	}
	return w.ok("POST", "/login", "", object{"type": "m.login.token", "token": page.location.Query().Get("loginToken")})
}

// TestSingleSignOn is the story of anna, who has an account with her employer.
func TestSingleSignOn(t *testing.T) {
	w, p := ssoWorld(t, nil)
	flows := fmt.Sprint(w.ok("GET", "/login", "", nil)["flows"])
	if !strings.Contains(flows, "identity_providers:[map[id:work name:Work]] type:m.login.sso") {
		t.Errorf("flows: %s", flows)
	}
	anna := newVisitor(t)
	p.Is("17", "Ánna")

	// An app that this server doesn't know gets nothing before she has agreed.
	page := anna.follow(redirectTo(w, "io.example.app:/back?x=1&loginToken=old&y=%20#top"), w.url, p.URL)
	if page.status != http.StatusOK || !strings.Contains(page.text, "io.example.app") || !strings.Contains(page.text, "@=c3=a1nna:test.local") {
		t.Fatalf("%d %s", page.status, page.text)
	}
	if cancelled := anna.confirms(w, page, "cancel"); cancelled.status != http.StatusOK || cancelled.location != nil {
		t.Errorf("cancelled: %+v", cancelled)
	}
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", object{"type": "m.login.password", "user": "=c3=a1nna", "password": ""})
	page = anna.confirms(w, anna.follow(redirectTo(w, "io.example.app:/back?x=1&loginToken=old&y=%20#top"), w.url, p.URL))
	session := w.logsIn(page)
	if session["user_id"] != "@=c3=a1nna:test.local" || !strings.HasPrefix(page.location.String(), "io.example.app:/back?x=1&y=%20&loginToken=hearth_lt_") || page.location.Fragment != "top" {
		t.Errorf("%v %v", session, page.location)
	}
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", object{"type": "m.login.token", "token": page.location.Query().Get("loginToken")})
	token := session["access_token"].(string)
	if got := w.ok("GET", "/profile/@=c3=a1nna:test.local", token, nil); got["displayname"] != "The Ánna" {
		t.Errorf("profile: %v", got)
	}

	// The same person is the same user, whatever she is called now; a client that this server
	// trusts gets its token at once.
	p.Is("17", "anna.married")
	if again := w.logsIn(anna.follow(redirectTo(w, "https://trusted.example.org/app"), w.url, p.URL)); again["user_id"] != session["user_id"] {
		t.Errorf("again: %v", again)
	}

	// She has no password: to remove a device she signs in once more, on a page.
	old := w.logsIn(anna.follow(redirectTo(w, "https://trusted.example.org/"), w.url, p.URL))["device_id"].(string)
	asked := w.refused(401, "<nil>", "DELETE", "/devices/"+old, token, object{})
	if flows := fmt.Sprint(asked["flows"]); flows != "[map[stages:[m.login.sso]]]" {
		t.Errorf("flows: %s", flows)
	}
	proof := object{"auth": object{"session": asked["session"]}}
	fallback := w.url + "/_matrix/client/v3/auth/m.login.sso/fallback/web?session=" + asked["session"].(string)
	p.Is("18", "mallory")
	if page := anna.follow(fallback, w.url, p.URL); page.status != http.StatusForbidden {
		t.Errorf("somebody else: %d %s", page.status, page.text)
	}
	p.Is("17", "anna")
	page = anna.follow(fallback, w.url, p.URL)
	if !strings.Contains(page.text, "remove a device") {
		t.Errorf("the page doesn't say what for: %s", page.text)
	}
	w.refused(401, "<nil>", "DELETE", "/devices/"+old, token, proof)
	if page = anna.confirms(w, page); !strings.Contains(page.text, "onAuthDone") {
		t.Errorf("%d %s", page.status, page.text)
	}
	w.ok("DELETE", "/devices/"+old, token, proof)
	w.refused(404, "M_NOT_FOUND", "GET", "/devices/"+old, token, nil)
}

// trustedApp is a client of the world's people.
const trustedApp = "https://trusted.example.org/"

// TestSingleSignOnRefusals is what providers say by which nobody is signed in.
func TestSingleSignOnRefusals(t *testing.T) {
	w, p := ssoWorld(t, func(o *Options, _ *idp.Options) { o.RegistrationEnabled = true })
	w.register("alice") // with a password
	v := newVisitor(t)
	fails := func(name string, status int) {
		t.Helper()
		page := v.follow(redirectTo(w, trustedApp), w.url, p.URL)
		if page.status != status || page.location != nil {
			t.Errorf("%s: %d %v %s", name, page.status, page.location, page.text)
		}
	}
	twists := map[string]func(map[string]any){
		"another nonce":    func(c map[string]any) { c["nonce"] = "of yesterday" },
		"no nonce":         func(c map[string]any) { delete(c, "nonce") },
		"another issuer":   func(c map[string]any) { c["iss"] = "https://evil.example.org" },
		"another audience": func(c map[string]any) { c["aud"] = "somebody-else" },
		"another party":    func(c map[string]any) { c["aud"], c["azp"] = []string{elsewhere.ProviderClient, "x"}, "x" },
		"expired":          func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
		"no subject":       func(c map[string]any) { delete(c, "sub") },
		"a long subject":   func(c map[string]any) { c["sub"] = strings.Repeat("x", 256) },
		"no name":          func(c map[string]any) { delete(c, "preferred_username") },
		"an empty name":    func(c map[string]any) { c["preferred_username"] = " " },
	}
	for name, twist := range twists {
		p.Is("1", "bob")
		p.Set(func() { p.Twist = twist })
		fails(name, http.StatusBadGateway)
	}
	p.Is("1", "bob")
	p.Set(func() { p.Refuse = "access_denied" })
	fails("denied", http.StatusForbidden)
	p.Is("1", "alice")
	fails("a name that is taken", http.StatusForbidden)
	p.Is("1", strings.Repeat("é", 100))
	fails("a name that is too long", http.StatusForbidden)

	// What the token lacks is asked for, but of the same person alone.
	p.Is("1", "bob")
	p.Set(func() {
		delete(p.Person, "preferred_username")
		p.More = map[string]any{"sub": "2", "preferred_username": "bob"}
	})
	fails("the userinfo of somebody else", http.StatusBadGateway)
	p.Set(func() { p.More["sub"] = "1" })
	if got := w.logsIn(v.follow(redirectTo(w, trustedApp), w.url, p.URL)); got["user_id"] != "@bob:test.local" {
		t.Errorf("with userinfo: %v", got)
	}
	p.Close()
	other, _ := ssoWorld(t, func(_ *Options, po *idp.Options) { po.Issuer = p.URL })
	if page := v.follow(redirectTo(other, trustedApp), other.url); page.status != http.StatusBadGateway {
		t.Errorf("a provider that is down: %d", page.status)
	}
}

// TestSingleSignOnOnce has a callback count once, in the browser that began, for its own provider.
func TestSingleSignOnOnce(t *testing.T) {
	w, p := ssoWorld(t, nil)
	v := newVisitor(t)
	p.Is("1", "bob")
	at := v.follow(redirectTo(w, trustedApp), w.url) // at the provider's door
	callback := v.read(v.http.Get(at.location.String())).location
	changed := func(name, value string) string {
		q := callback.Query()
		q.Set(name, value)
		return w.url + SSOCallbackPath + "?" + q.Encode()
	}
	if page := newVisitor(t).read(http.Get(callback.String())); page.status != http.StatusBadRequest {
		t.Errorf("in another browser: %d", page.status)
	}
	if page := v.read(v.http.Get(changed("state", "guessed"))); page.status != http.StatusBadRequest {
		t.Errorf("a wrong state: %d", page.status)
	}
	w.logsIn(v.read(v.http.Get(callback.String())))
	if page := v.read(v.http.Get(callback.String())); page.status != http.StatusBadRequest {
		t.Errorf("a state for the second time: %d", page.status)
	}
	callback = v.read(v.http.Get(v.follow(redirectTo(w, trustedApp), w.url).location.String())).location
	if page := v.read(v.http.Get(changed("iss", "https://evil.example.org"))); page.status != http.StatusBadGateway {
		t.Errorf("the callback of another provider: %d", page.status)
	}
	callback = v.read(v.http.Get(v.follow(redirectTo(w, trustedApp), w.url).location.String())).location
	if page := v.read(v.http.Get(changed("code", "guessed"))); page.status != http.StatusBadGateway {
		t.Errorf("a wrong code: %d", page.status)
	}

	// Whoever is asked must answer in their browser, on this server's page.
	page := v.follow(redirectTo(w, "https://unknown.example.org/"), w.url, p.URL)
	form := url.Values{"token": {hiddenToken.FindStringSubmatch(page.text)[1]}}
	if page := newVisitor(t).read(http.PostForm(w.url+ssoPath+"/confirm", form)); page.status != http.StatusBadRequest {
		t.Errorf("confirmed by somebody else: %d", page.status)
	}
	req, _ := http.NewRequest("POST", w.url+ssoPath+"/confirm", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if page := v.read(v.http.Do(req)); page.status != http.StatusForbidden {
		t.Errorf("confirmed by another site: %d", page.status)
	}
	w.logsIn(v.confirms(w, page))

}

// TestSingleSignOnTargets are where nobody is led to.
func TestSingleSignOnTargets(t *testing.T) {
	w, _ := ssoWorld(t, nil)
	v := newVisitor(t)
	for _, bad := range []string{"javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "/relative", "https://", "https://trusted.example.org@evil.example.org/",
		"//evil.example.org", "https:evil", "https://a b/", "http://x;y/", "vbscript:x", "x\n:y", strings.Repeat("x", 3000)} {
		w.refused(400, "M_INVALID_PARAM", "GET", "/login/sso/redirect?redirectUrl="+url.QueryEscape(bad), "", nil)
		if page := v.read(v.http.Get(w.url + ssoPath + "/begin?provider=work&redirectUrl=" + url.QueryEscape(bad))); page.status != http.StatusBadRequest {
			t.Errorf("%q: %d %v", bad, page.status, page.location)
		}
	}
	w.refused(400, "M_MISSING_PARAM", "GET", "/login/sso/redirect", "", nil)
	for _, path := range []string{"/_matrix/client/v3/login/sso/redirect/nowhere?redirectUrl=a:b", "/_matrix/client/v3/auth/m.login.sso/fallback/web?session=x"} {
		if res, _ := w.browser(path, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	newWorld(t, nil).refused(404, "M_NOT_FOUND", "GET", "/login/sso/redirect?redirectUrl=a:b", "", nil)
}

// TestSingleSignOnAccounts is who gets which account.
func TestSingleSignOnAccounts(t *testing.T) {
	w, p := ssoWorld(t, func(o *Options, po *idp.Options) {
		o.RegistrationEnabled, po.AllowExisting = true, true
		o.Terms = &Terms{Version: "7", Language: "en", ServiceURL: "https://hearth.test/terms"}
	})
	v := newVisitor(t)
	login := func() shown { return v.follow(redirectTo(w, "https://trusted.example.org/"), w.url, p.URL) }

	// Somebody new agrees to the terms first.
	p.Is("1", "nora")
	page := login()
	if !strings.Contains(page.text, "https://hearth.test/terms") {
		t.Errorf("no terms: %d %s", page.status, page.text)
	}
	w.logsIn(v.confirms(w, page))

	// Who has an account keeps it, with its password; nobody gets it after them.
	form := w.refused(401, "<nil>", "POST", "/register", "", object{"username": "carl", "password": "secret-carl"})
	w.ok("POST", "/register", "", object{"username": "carl", "password": "secret-carl", "auth": object{"type": "m.login.terms", "session": form["session"]}})
	p.Is("2", "Carl")
	carl := w.logsIn(login())
	if carl["user_id"] != "@carl:test.local" {
		t.Errorf("carl: %v", carl)
	}
	if asked := w.refused(401, "<nil>", "POST", "/delete_devices", carl["access_token"].(string), object{"devices": []string{}}); fmt.Sprint(asked["flows"]) !=
		"[map[stages:[m.login.sso]] map[stages:[m.login.password]]]" {
		t.Errorf("flows: %v", asked["flows"])
	}
	p.Is("3", "carl")
	if page := login(); page.status != http.StatusForbidden {
		t.Errorf("another carl: %d %v", page.status, page.location)
	}

	p.Is("1", "nora")
	if err := w.db.SetLocked(t.Context(), "@nora:test.local", true); err != nil {
		t.Fatal(err)
	}
	if page := login(); page.status != http.StatusForbidden || !strings.Contains(page.text, "locked") {
		t.Errorf("locked: %d %s", page.status, page.text)
	}
	if _, err := w.db.DeactivateUser(t.Context(), "@nora:test.local", true); err != nil {
		t.Fatal(err)
	}
	if page := login(); page.status != http.StatusForbidden || !strings.Contains(page.text, "deactivated") {
		t.Errorf("deactivated: %d %s", page.status, page.text)
	}

	closed, p := ssoWorld(t, func(_ *Options, po *idp.Options) { po.Register = false })
	p.Is("1", "nora")
	if page := v.follow(redirectTo(closed, "https://trusted.example.org/"), closed.url, p.URL); page.status != http.StatusForbidden {
		t.Errorf("without registration: %d", page.status)
	}
}
