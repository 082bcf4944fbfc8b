package clientapi

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"hearth/internal/mail"
	"hearth/internal/testenv/elsewhere"
)

// newMailWorld is a server that sends its mail to the post office.
func newMailWorld(t *testing.T, change func(*Options)) (*world, *elsewhere.PostOffice) {
	office := elsewhere.NewPostOffice(t)
	mailer, err := mail.New(mail.Options{Server: office.Address, TLS: "none", From: "Test <matrix@test.local>"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *Options) {
		o.Mailer, o.PublicBaseURL, o.ClientURLs = mailer, "https://matrix.test.local", []string{"https://app.test.local/client"}
		if change != nil {
			change(o)
		}
	})
	return w, office
}

var linkPattern = regexp.MustCompile(`https://matrix\.test\.local(/_hearth/email/confirm\?\S+)`)

// link returns where the only letter that came leads.
func (w *world) link(office *elsewhere.PostOffice, to string) string {
	w.t.Helper()
	letters := office.Take()
	if len(letters) != 1 || letters[0].To != to {
		w.t.Fatalf("letters: %v", letters)
	}
	found := linkPattern.FindStringSubmatch(letters[0].Text)
	if found == nil {
		w.t.Fatalf("no link in %s", letters[0].Text)
	}
	return found[1]
}

// visit follows a link as a browser does, submitting the page's form if submit is set,
// and returns the page.
func (w *world) visit(link string, submit bool) (*http.Response, string) {
	w.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get(w.url + link)
	if submit && err == nil {
		res.Body.Close()
		path, query, _ := strings.Cut(link, "?")
		form, _ := url.ParseQuery(query)
		res, err = client.PostForm(w.url+path, form)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, string(text)
}

func emailRequestFor(address, secret string, attempt int) object {
	return object{"email": address, "client_secret": secret, "send_attempt": attempt}
}

// TestEmail goes through an address's life: registered with, logged in with, a forgotten
// password, a second address, and taken away.
func TestEmail(t *testing.T) {
	w, office := newMailWorld(t, nil)
	const registerPath, addPath, resetPath = "/register/email/requestToken", "/account/3pid/email/requestToken", "/account/password/email/requestToken"
	for code, bad := range map[string][]object{
		"M_MISSING_PARAM": {{}, {"email": "a@b.example", "client_secret": "s"}},
		"M_INVALID_PARAM": {emailRequestFor("no address", "s", 1), emailRequestFor("a@b.example", "sécret", 1), emailRequestFor("A <a@b.example>", "s", 1),
			{"email": "a@b.example", "client_secret": "s", "send_attempt": 1, "next_link": "javascript:alert(1)"}},
		"M_BAD_JSON": {{"email": "a@b.example", "client_secret": "s", "send_attempt": "1"}},
	} {
		for _, body := range bad {
			w.refused(400, code, "POST", registerPath, "", body)
		}
	}

	request := emailRequestFor("Alice@Example.org", "secret1", 1)
	request["next_link"] = "https://app.test.local/client/welcome"
	sid := w.ok("POST", registerPath, "", request)["sid"]
	if again := w.ok("POST", registerPath, "", request)["sid"]; again != sid {
		t.Errorf("a repeated request: %v, not %v", again, sid)
	}
	link := w.link(office, "alice@example.org") // one mail for both
	creds := object{"sid": sid, "client_secret": "secret1"}
	stage := func(creds object, session any) object {
		return object{"username": "alice", "password": "secret-alice", "auth": object{"type": "m.login.email.identity", "threepid_creds": creds, "session": session}}
	}
	_, asked := w.do("POST", "/register", "", object{})
	if fmt.Sprint(asked["flows"]) != "[map[stages:[m.login.dummy]] map[stages:[m.login.email.identity]]]" {
		t.Errorf("flows: %v", asked["flows"])
	}
	w.refused(401, "M_THREEPID_AUTH_FAILED", "POST", "/register", "", stage(creds, asked["session"]))
	if res, page := w.visit(link, false); res.StatusCode != 200 || !strings.Contains(page, "alice@example.org") ||
		!strings.Contains(res.Header.Get("Content-Security-Policy"), "form-action 'self' https://app.test.local;") {
		t.Errorf("the page: %d %s", res.StatusCode, page)
	}
	w.refused(401, "M_THREEPID_AUTH_FAILED", "POST", "/register", "", stage(creds, asked["session"])) // looking isn't confirming
	if res, _ := w.visit(link+"x", true); res.StatusCode != 404 {
		t.Errorf("a wrong token: %d", res.StatusCode)
	}
	if res, _ := w.visit(link, true); res.StatusCode != 303 || res.Header.Get("Location") != "https://app.test.local/client/welcome" {
		t.Errorf("confirming: %d %v", res.StatusCode, res.Header)
	}
	w.refused(401, "M_THREEPID_AUTH_FAILED", "POST", "/register", "", stage(object{"sid": sid, "client_secret": "other"}, asked["session"]))
	alice := w.ok("POST", "/register", "", stage(creds, asked["session"]))["access_token"].(string)
	list := w.ok("GET", "/account/3pid", alice, nil)["threepids"].([]any)
	if len(list) != 1 || list[0].(object)["address"] != "alice@example.org" || list[0].(object)["medium"] != "email" {
		t.Errorf("addresses: %v", list)
	}
	used := stage(creds, "")
	used["username"] = "second"
	w.refused(401, "M_THREEPID_AUTH_FAILED", "POST", "/register", "", used)

	byEmail := object{"type": "m.login.password", "password": "secret-alice", "identifier": object{"type": "m.id.thirdparty", "medium": "email", "address": "ALICE@example.org"}}
	if in := w.ok("POST", "/login", "", byEmail); in["user_id"] != "@alice:test.local" {
		t.Errorf("logging in by address: %v", in)
	}
	w.ok("POST", "/login", "", object{"type": "m.login.password", "password": "secret-alice", "medium": "email", "address": "alice@example.org"})
	byEmail["identifier"].(object)["address"] = "nobody@example.org"
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", byEmail)

	// Whether an address has an account is told to its owner alone.
	for _, path := range []string{registerPath, addPath, resetPath} {
		for address, said := range map[string]string{"alice@example.org": "your account @alice:test.local", "nobody@example.org": "omebody"} {
			w.ok("POST", path, "", emailRequestFor(address, "probe", 1))
			if letters := office.Take(); len(letters) != 1 || letters[0].To != address || !strings.Contains(letters[0].Text, said) {
				t.Errorf("%s to %s: %v", path, address, letters)
			}
		}
	}
	w.resetPassword(office, alice)
	w.addAddress(office)
}

// resetPassword sets a new password without the old one.
func (w *world) resetPassword(office *elsewhere.PostOffice, alice string) {
	w.t.Helper()
	creds := object{"client_secret": "reset", "sid": w.ok("POST", "/account/password/email/requestToken", "", emailRequestFor("alice@example.org", "reset", 1))["sid"]}
	link := w.link(office, "alice@example.org")
	auth := object{"type": "m.login.email.identity", "threepid_creds": creds}
	w.refused(401, "M_THREEPID_AUTH_FAILED", "POST", "/account/password", "", object{"new_password": "secret-new", "auth": auth})
	w.visit(link, true)
	w.refused(401, "M_FORBIDDEN", "POST", "/account/password", alice, object{"new_password": "secret-new", "auth": auth}) // a session needs the password
	w.ok("POST", "/account/password", "", object{"new_password": "secret-new", "auth": auth})
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", alice, nil)
	w.refused(401, "M_THREEPID_AUTH_FAILED", "POST", "/account/password", "", object{"new_password": "other-one", "auth": auth})
	w.ok("POST", "/login", "", object{"type": "m.login.password", "user": "alice", "password": "secret-new"})
}

// addAddress gives an account an address, which it can have only once, and takes it away.
func (w *world) addAddress(office *elsewhere.PostOffice) {
	w.t.Helper()
	bob, carol := w.register("bob"), w.register("carol")
	add := func(secret string) object {
		request := emailRequestFor("bob@example.org", secret, 1)
		request["next_link"] = "https://elsewhere.example/?a=b"
		creds := object{"client_secret": secret, "sid": w.ok("POST", "/account/3pid/email/requestToken", "", request)["sid"]}
		_, page := w.visit(w.link(office, "bob@example.org"), true)
		if !strings.Contains(page, `href="https://elsewhere.example/?a=b"`) {
			w.t.Errorf("the page after confirming: %s", page)
		}
		return creds
	}
	first, second := add("add1"), add("add2")
	w.refused(401, "<nil>", "POST", "/account/3pid/add", bob, first)
	first["auth"], second["auth"] = passwordAuth("bob", ""), passwordAuth("carol", "")
	w.ok("POST", "/account/3pid/add", bob, first)
	w.refused(400, "M_THREEPID_IN_USE", "POST", "/account/3pid/add", carol, second)
	w.refused(400, "M_THREEPID_AUTH_FAILED", "POST", "/account/3pid/add", bob, first)
	whose := object{"medium": "email", "address": "Bob@example.org"}
	w.ok("POST", "/account/3pid/delete", carol, whose)
	if list := w.ok("GET", "/account/3pid", bob, nil)["threepids"].([]any); len(list) != 1 {
		w.t.Errorf("somebody else took bob's address away: %v", list)
	}
	if answer := w.ok("POST", "/account/3pid/delete", bob, whose); answer["id_server_unbind_result"] != "no-support" {
		w.t.Errorf("deleting an address: %v", answer)
	}
	w.ok("POST", "/account/3pid/add", carol, second)
	if answer := w.ok("POST", "/account/3pid/unbind", bob, whose); answer["id_server_unbind_result"] != "no-support" {
		w.t.Errorf("unbinding an address: %v", answer)
	}
	w.refused(400, "M_SERVER_NOT_TRUSTED", "POST", "/account/3pid/bind", bob, object{
		"sid": "s", "client_secret": "c", "id_access_token": "t", "id_server": "evil.example.org"})
	w.refused(400, "M_INVALID_PARAM", "POST", "/account/3pid/delete", bob, object{"medium": "pigeon", "address": "x"})
	w.ok("POST", "/account/deactivate", carol, object{"auth": passwordAuth("carol", "")})
	if _, err := w.db.ThreepidOwner(background(w.t), "email", "bob@example.org"); err == nil {
		w.t.Error("a deactivated account keeps its address")
	}
}

// TestEmailTroubles is a mail server that fails, a server without one, and one that
// wants an address of everybody.
func TestEmailTroubles(t *testing.T) {
	w, office := newMailWorld(t, func(o *Options) { o.EmailRequired = true })
	office.Break(true)
	request := emailRequestFor("alice@example.org", "s", 1)
	w.refused(503, "M_UNKNOWN", "POST", "/register/email/requestToken", "", request)
	office.Break(false)
	w.ok("POST", "/register/email/requestToken", "", request) // the same attempt again
	w.link(office, "alice@example.org")
	w.refused(401, "M_FORBIDDEN", "POST", "/register", "", object{"password": "x", "auth": object{"type": "m.login.dummy"}})

	without := newWorld(t, nil)
	for _, path := range []string{"/register/email", "/account/3pid/email", "/account/password/email", "/register/msisdn", "/account/3pid/msisdn", "/account/password/msisdn"} {
		without.refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "POST", path+"/requestToken", "", request)
	}
	token := without.register("alice")
	without.refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "POST", "/account/3pid/add", token, object{})
	if c := without.ok("GET", "/capabilities", token, nil)["capabilities"].(object)["m.3pid_changes"].(object)["enabled"]; c != false {
		t.Errorf("m.3pid_changes: %v", c)
	}
}
