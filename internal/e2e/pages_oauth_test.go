package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"
)

// chat is a client of the OAuth 2.0 API.
type chat struct {
	p            *pages
	id, redirect string
	verifier     string
}

const codeGrant, deviceGrant = "authorization_code", "urn:ietf:params:oauth:grant-type:device_code"

func (p *pages) newChat() *chat {
	p.t.Helper()
	anybody := &user{base: p.s.base}
	registered := anybody.do(p.t, "POST", "/_hearth/oauth/clients", map[string]any{
		"client_name": "Chat <i> of_a_name_that_is_as_long_as_the_screen_is_wide_or_even_longer_than_that", "client_uri": "https://chat.example.org/",
		"redirect_uris": []string{"http://127.0.0.1/back"}, "application_type": "native", "token_endpoint_auth_method": "none",
		"grant_types": []string{codeGrant, deviceGrant, "refresh_token"},
	})
	if registered.status != http.StatusCreated {
		p.t.Fatalf("registering a client: %s", registered)
	}
	return &chat{p, registered.json().Get("client_id").String(), p.app.URL + "/back", rand.Text() + rand.Text()}
}

func scopeOf(device string) string {
	return "urn:matrix:client:api:* urn:matrix:client:device:" + device
}

// page is where the client leads people, and more what it asks for beside the usual.
func (c *chat) page(device string, more ...string) string {
	sum := sha256.Sum256([]byte(c.verifier))
	q := url.Values{"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {c.redirect}, "scope": {scopeOf(device)}, "state": {"s&t<"},
		"response_mode": {"fragment"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return c.p.url("/_hearth/oauth/authorize?" + q.Encode())
}

// answer is what the client is told where people are led back to it.
func (c *chat) answer(b *tab) url.Values {
	c.p.t.Helper()
	b.at(c.redirect)
	at, err := url.Parse(b.where())
	if err != nil {
		c.p.t.Fatal(err)
	}
	q, err := url.ParseQuery(at.RawQuery + at.EscapedFragment())
	if err != nil || q.Get("state") != "s&t<" {
		c.p.t.Fatalf("led back to %s: %v", at, err)
	}
	return q
}

// session is what the client gets for a code.
func (c *chat) session(code string) *user {
	c.p.t.Helper()
	return c.sessionOf(c.p.form("/_hearth/oauth/token", url.Values{
		"grant_type": {codeGrant}, "code": {code}, "redirect_uri": {c.redirect}, "client_id": {c.id}, "code_verifier": {c.verifier},
	}))
}

func (c *chat) sessionOf(tokens gjson.Result) *user {
	c.p.t.Helper()
	u := &user{base: c.p.s.base, token: tokens.Get("access_token").String()}
	me := u.ok(c.p.t, "GET", clientV3+"/account/whoami", nil)
	u.id, u.device = me.Get("user_id").String(), me.Get("device_id").String()
	return u
}

// apps: somebody lets apps use their account, or doesn't.
func (p *pages) apps(b *tab, name string) {
	p.person(name)
	c := p.newChat()
	b.open(c.page("APPONE"))
	b.sees("(chat.example.org) wants to use your account")
	b.fill("User name or e-mail address", name)
	b.fill("Password", "wrong")
	b.press("Log in")
	b.sees("Wrong user name or password")
	b.fill("Password", password)
	b.press("Log in")
	if u := c.session(c.answer(b).Get("code")); u.id != "@"+name+":hearth.test" || u.device != "APPONE" {
		p.t.Errorf("the session is of %s on %s", u.id, u.device)
	}
	b.open(c.page("APPONE", "response_mode", "query"))
	b.press("Cancel")
	if said := c.answer(b).Get("error"); said != "access_denied" {
		p.t.Errorf("after no: %q", said)
	}
	b.open(c.page("APPTWO", "prompt", "create"))
	b.sees("Make an account on this server.")
	b.fill("User name", name+"-two")
	b.fill("Password", password)
	b.fill("The password again", password)
	b.fill("Registration token", "spring")
	b.tick("I agree to these")
	b.press("Make the account")
	b.sees("You are signed in as @" + name + "-two:hearth.test.")
	b.press("Go on")
	if u := c.session(c.answer(b).Get("code")); u.id != "@"+name+"-two:hearth.test" {
		p.t.Errorf("the session is of %s", u.id)
	}
	b.open(c.page("APPTHREE"))
	b.press("I am somebody else")
	b.find("textbox", "Password")
	b.open(c.page("APPTHREE", "redirect_uri", "http://127.0.0.1/elsewhere"))
	b.sees("The app that led you here isn't known to this server.")
}

// signInElsewhere: somebody signs in at a provider to let an app use their account, and to show who they are.
func (p *pages) signInElsewhere(b *tab, name string) {
	c := p.newChat()
	p.provider.Is(name, name)
	b.open(c.page("ELSEWHERE"))
	b.follow("Sign in by Work")
	b.sees("Work has signed you in as @"+name+":hearth.test.", "Terms of Service")
	b.press("I agree")
	b.at(p.url("/_hearth/oauth/authorize"))
	b.press("Go on")
	u := c.session(c.answer(b).Get("code"))

	session := p.begin(u, "DELETE", clientV3+"/devices/ELSEWHERE", map[string]any{})
	p.provider.Is(name+" of another name", name+"-other")
	page := p.stage(b, "m.login.sso", session)
	page.sees("but the app asks for somebody else.")
	p.provider.Is(name, name)
	page = p.stage(b, "m.login.sso", session)
	page.sees("remove a device from it")
	page.press("Go on")
	p.done(b, page)
	u.ok(p.t, "DELETE", clientV3+"/devices/ELSEWHERE", map[string]any{"auth": map[string]any{"session": session}})
	p.provider.Set(func() { p.provider.Refuse = "access_denied" })
	b.open(c.page("ELSEWHERE", "prompt", "login"))
	if strings.Contains(b.text(), "You are signed in as") {
		b.press("I am somebody else")
	}
	b.follow("Sign in by Work")
	b.sees("Work has not signed you in.")
}

// codes: somebody types the code that an app shows which can't lead them to a page.
func (p *pages) codes(b *tab, name string) {
	u := p.person(name)
	c := p.newChat()
	shown := p.form("/_hearth/oauth/device", url.Values{"client_id": {c.id}, "scope": {scopeOf("TELEVISION")}})
	b.open(shown.Get("verification_uri").String())
	b.fill("User name or e-mail address", name)
	b.fill("Password", password)
	b.press("Sign in")
	b.fill("The code that your app shows", "bcdf-ghjk")
	b.press("Go on")
	b.sees("No app waits with this code")
	b.fill("The code that your app shows", strings.ToLower(shown.Get("user_code").String()))
	b.press("Go on")
	b.sees("(chat.example.org) wants to use your account", shown.Get("user_code").String())
	b.press("Go on")
	b.sees("Done. Go back to your app now.")
	tokens := p.form("/_hearth/oauth/token", url.Values{"grant_type": {deviceGrant}, "device_code": {shown.Get("device_code").String()}, "client_id": {c.id}})
	if got := c.sessionOf(tokens); got.id != u.id || got.device != "TELEVISION" {
		p.t.Errorf("the session is of %s on %s", got.id, got.device)
	}
	shown = p.form("/_hearth/oauth/device", url.Values{"client_id": {c.id}, "scope": {scopeOf("TELEVISION")}})
	b.open(shown.Get("verification_uri_complete").String())
	b.press("Cancel")
	b.sees("The app was not let in.")
}

// identity: an app that has come by OAuth 2.0 replaces somebody's keys, which they allow on the account's page.
func (p *pages) identity(b *tab, name string) {
	p.person(name)
	c := p.newChat()
	b.open(c.page("IDENTITY"))
	b.fill("User name or e-mail address", name)
	b.fill("Password", password)
	b.press("Log in")
	u := c.session(c.answer(b).Get("code"))
	keys := func(seed string) map[string]any {
		sum := sha256.Sum256([]byte(seed))
		key := base64.RawStdEncoding.EncodeToString(sum[:])
		return map[string]any{"master_key": map[string]any{"user_id": u.id, "usage": []string{"master"}, "keys": map[string]any{"ed25519:" + key: key}}}
	}
	const path = clientV3 + "/keys/device_signing/upload"
	u.ok(p.t, "POST", path, keys("first"))
	second := keys("second")
	session := p.begin(u, "POST", path, second)
	page := p.stage(b, "m.oauth", session)
	page.fill("User name or e-mail address", name)
	page.fill("Password", password)
	page.press("Sign in")
	page.sees("Replace your identity")
	page.press("Go on")
	p.done(b, page)
	second["auth"] = map[string]any{"session": session}
	u.ok(p.t, "POST", path, second)
}
