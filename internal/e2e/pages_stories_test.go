package e2e

import (
	"net/http"
	"net/url"

	cdppage "github.com/chromedp/cdproto/page"
)

// accounts: somebody makes an account, manages it, and closes it.
func (p *pages) accounts(b *tab, name string) {
	b.open(p.url("/"))
	b.sees("hearth.test", "anybody may make an account")
	b.open(p.url("/_hearth/sign-in"))
	b.follow("Make an account")
	b.sees("Make an account on this server.")
	b.fill("User name", name)
	b.fill("Password", password)
	b.fill("The password again", "another")
	b.fill("Registration token", "spring")
	b.tick("I agree to these")
	b.press("Make the account")
	b.sees("The passwords are not the same")
	if kept := b.holds("User name"); kept != name {
		p.t.Errorf("after a slip the form has the name %q", kept)
	}
	b.fill("Password", password)
	b.fill("The password again", password)
	b.fill("Registration token", "spring")
	b.tick("I agree to these")
	b.press("Make the account")
	b.at(p.url("/_hearth/account"))
	b.sees("You are signed in as @" + name + ":hearth.test.")

	b.fill("Display name", "Anna <b>& Co")
	b.press("Change")
	b.sees("Your name was changed.")
	if called := b.holds("Display name"); called != "Anna <b>& Co" {
		p.t.Errorf("called %q", called)
	}
	telephone := login(p.t, p.s.base, name, password)
	b.open(p.url("/_hearth/account?action=org.matrix.device_delete&device_id=" + telephone.device))
	b.sees(telephone.device)
	b.press("Log out")
	b.sees("The device was logged out.")
	telephone.refused(p.t, http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "GET", clientV3+"/account/whoami", nil)

	b.press("Sign out of this page")
	b.at(p.url("/_hearth/sign-in"))
	b.fill("User name or e-mail address", name)
	b.fill("Password", "wrong")
	b.press("Sign in")
	b.sees("Wrong user name or password.")
	b.fill("Password", password)
	b.press("Sign in")
	b.at(p.url("/_hearth/account"))
	b.follow("Close the account")
	b.tick("I am sure")
	b.press("Close my account")
	b.sees("Your account was closed.")
	nobody := &user{base: p.s.base}
	nobody.refused(p.t, http.StatusForbidden, "M_USER_DEACTIVATED", "POST", clientV3+"/login", loginBody(name, password))
}

// registration: an app that knows neither terms nor tokens nor addresses has somebody register by pages.
func (p *pages) registration(b *tab, name string) {
	address := name + "@example.org"
	app := &user{base: p.s.base}
	wish := map[string]any{"username": name, "password": password}
	uia := p.begin(app, "POST", clientV3+"/register", wish)
	page := p.stage(b, "m.login.registration_token", uia)
	page.fill("Registration token", "winter")
	page.press("Go on")
	page.sees("This registration token is not valid.")
	page.fill("Registration token", "spring")
	page.press("Go on")
	p.done(b, page)

	page = p.stage(b, "m.login.terms", uia)
	page.find("link", "Terms of Service")
	page.press("I agree")
	p.done(b, page)

	page = p.stage(b, "m.login.email.identity", uia)
	page.fill("E-mail address", address)
	page.press("Send me a mail")
	page.sees("A mail was sent to " + address)
	page.press("I have followed the link")
	page.sees("The e-mail address has not been confirmed.")
	mail := b.another()
	mail.open(p.link(address))
	mail.sees("Do you want to use " + address + " for your account?")
	mail.press("Yes, that was me")
	mail.sees(address + " is confirmed.")
	page.press("I have followed the link")
	p.done(b, page)

	wish["auth"] = map[string]any{"session": uia}
	made := session(p.s.base, app.ok(p.t, "POST", clientV3+"/register", wish))
	if addresses := made.ok(p.t, "GET", clientV3+"/account/3pid", nil).Get("threepids.#.address"); addresses.String() != `["`+address+`"]` {
		p.t.Errorf("addresses: %s", addresses)
	}
	page = p.stage(b, "m.login.terms", uia)
	page.sees("This page is no longer good.")
}

// proofs: an app shows pages itself, which call it when somebody has shown who they are.
func (p *pages) proofs(b *tab, name string) {
	u := p.person(name)
	old := login(p.t, p.s.base, name, password)
	call(b, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: "called = 0; window.onAuthDone = () => called++;"})
	remove := map[string]any{"devices": []string{old.device}}
	session := p.begin(u, "POST", clientV3+"/delete_devices", remove)
	b.open(p.url(clientV3 + "/auth/m.login.password/fallback/web?session=" + session))
	b.sees(u.id, "remove devices from it")
	b.fill("Password", "wrong")
	b.press("Go on")
	b.sees("Wrong user name or password.")
	b.fill("Password", password)
	b.press("Go on")
	b.sees("Done. Go back to your app now.")
	b.evaluates("called", "1")
	remove["auth"] = map[string]any{"session": session}
	u.ok(p.t, "POST", clientV3+"/delete_devices", remove)
	old.refused(p.t, http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "GET", clientV3+"/account/whoami", nil)
}

// mail: links in mails confirm an address, and let somebody set the password that they have forgotten.
func (p *pages) mail(b *tab, name string) {
	u, address := p.person(name), name+"@example.org"
	ask := func(path string) map[string]any {
		body := map[string]any{"client_secret": name, "email": address, "send_attempt": 1, "next_link": "https://elsewhere.test/?a=1&b=2"}
		return map[string]any{"sid": u.ok(p.t, "POST", clientV3+path, body).Get("sid").String(), "client_secret": name}
	}
	creds := ask("/account/3pid/email/requestToken")
	link := p.link(address)
	b.open(link[:len(link)-3] + "AAA")
	b.sees("This link is no longer good.")
	b.open(link)
	b.press("Yes, that was me")
	b.sees(address+" is confirmed.", "The app asked to go on at https://elsewhere.test/?a=1&b=2")
	creds["auth"] = map[string]any{"type": "m.login.password", "password": password}
	u.ok(p.t, "POST", clientV3+"/account/3pid/add", creds)

	forgetful := &user{base: p.s.base}
	proof := map[string]any{"type": "m.login.email.identity", "threepid_creds": ask("/account/password/email/requestToken")}
	change := map[string]any{"new_password": "a password that is new", "auth": proof}
	forgetful.refused(p.t, http.StatusUnauthorized, "M_THREEPID_AUTH_FAILED", "POST", clientV3+"/account/password", change)
	b.open(p.link(address))
	b.sees("Somebody asked to set a new password for the account with the address " + address)
	b.press("Yes, that was me")
	b.sees(address + " is confirmed.")
	forgetful.ok(p.t, "POST", clientV3+"/account/password", change)
	b.open(p.url("/_hearth/sign-in"))
	b.fill("User name or e-mail address", address)
	b.fill("Password", "a password that is new")
	b.press("Sign in")
	b.sees("You are signed in as "+u.id, address)
}

// login: the page for apps that know none of the ways to log in tells them who somebody is.
func (p *pages) login(b *tab, name string) {
	u := p.person(name)
	at := p.url("/_matrix/static/client/login/?")
	b.open(at)
	b.fill("User name", name)
	b.fill("Password", password)
	b.do("logging in", b.click("button", "Log in"))
	b.sees("You are logged in. Go back to your app now.")

	call(b, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{
		Source: "answer = {}; window.matrixLogin = { onLogin: (a) => { answer = a; } };",
	})
	b.open(at + url.Values{"device_id": {"FALLBACK"}, "initial_device_display_name": {"An app"}}.Encode())
	b.fill("User name", name)
	b.fill("Password", "wrong")
	b.do("logging in", b.click("button", "Log in"))
	b.sees("Wrong user name or password")
	b.fill("Password", password)
	b.do("logging in", b.click("button", "Log in"))
	b.evaluates("answer.user_id + ' ' + answer.device_id", u.id+" FALLBACK")

	p.provider.Is("login", "login-elsewhere")
	b.open(at + "device_id=ELSEWHERE")
	b.follow("Sign in by Work")
	b.sees("Work has signed you in as @login-elsewhere:hearth.test.", "This account is new")
	b.press("I agree")
	b.evaluates("answer.user_id + ' ' + answer.device_id", "@login-elsewhere:hearth.test ELSEWHERE")
	b.evaluates("location.search", "?device_id=ELSEWHERE")
}

// loginWithoutScripts: the page says what it needs.
func (p *pages) loginWithoutScripts(b *tab, _ string) {
	b.open(p.url("/_matrix/static/client/login/"))
	b.sees("This page needs JavaScript, by which it tells your app who you are.")
}
