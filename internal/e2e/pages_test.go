package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"hearth/internal/testenv/elsewhere"
)

// TestPages has people use the pages that the server itself shows, in a browser on a small screen: with
// scripts and, where a page works without them, without. No page may load anything from elsewhere,
// complain, be too wide or have anything without a name that one has to use; see watch and audit.
func TestPages(t *testing.T) {
	p := newPages(t)
	// Pages have scripts only where they tell an app of something, so that most stories are told without.
	with, without := []bool{true}, []bool{false}
	for _, story := range []struct {
		name    string
		tell    func(p *pages, b *tab, name string)
		scripts []bool
	}{
		{"accounts", (*pages).accounts, without},
		{"apps", (*pages).apps, without},
		{"codes", (*pages).codes, without},
		{"mail", (*pages).mail, without},
		{"registration", (*pages).registration, []bool{true, false}},
		{"sign-in elsewhere", (*pages).signInElsewhere, with},
		{"identity", (*pages).identity, with},
		{"proofs", (*pages).proofs, with},
		{"login", (*pages).login, with},
		{"login without scripts", (*pages).loginWithoutScripts, without},
	} {
		for _, scripts := range story.scripts {
			t.Run(fmt.Sprintf("%s/scripts=%v", story.name, scripts), func(t *testing.T) {
				told := *p
				told.t, told.scripts = t, scripts
				name := strings.ReplaceAll(story.name, " ", "-")
				if scripts {
					name += "-scripted"
				}
				story.tell(&told, newTab(t, p.browser, p.s.base, scripts), name)
			})
		}
	}
}

// pages is a server, whom it has to do with, and a browser.
type pages struct {
	t        *testing.T
	s        *server
	browser  context.Context
	office   *elsewhere.PostOffice
	provider *elsewhere.Provider
	// app is where a client is that lives in the browser; it notes what it is told.
	app *httptest.Server
	// scripts is whether pages may run any in the story that is told.
	scripts bool
}

func newPages(t *testing.T) *pages {
	p := &pages{t: t, browser: startBrowser(t), office: elsewhere.NewPostOffice(t), provider: elsewhere.NewProvider(t)}
	p.app = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!DOCTYPE html><title>App</title><h1>App</h1><script>told = []; onmessage = (e) => told.push(e.origin + " " + e.data);</script>`)
	}))
	t.Cleanup(p.app.Close)
	p.s = newServer(t, "registration.require_token=true", "registration.terms.service_url=https://hearth.test/terms", "passwords.bcrypt_cost=4")
	for name, value := range map[string]string{
		"PUBLIC_BASE_URL": p.s.base, "OAUTH_ENABLED": "true",
		"EMAIL_SMTP_SERVER": p.office.Address, "EMAIL_TLS": "none", "EMAIL_FROM": "Hearth <matrix@hearth.test>",
	} {
		t.Setenv("HEARTH_"+name, value)
	}
	p.s.setProvider(fmt.Sprintf("{id: work, name: Work, issuer: '%s', client_id: %s, client_secret: '%s'}",
		p.provider.URL, elsewhere.ProviderClient, elsewhere.ProviderSecret))
	p.s.start()
	p.run("", "registration-token", "create", "spring")
	return p
}

// run runs a command of the program that must succeed.
func (p *pages) run(stdin, command string, args ...string) {
	p.t.Helper()
	if _, stderr, code := p.s.run(stdin, append(append([]string{command}, args...), "--config", p.s.config)...); code != 0 {
		p.t.Fatalf("%s: status %d\n%s", command, code, stderr)
	}
}

// person has an account, and logs in to it.
func (p *pages) person(name string) *user {
	p.t.Helper()
	p.run(password+"\n", "create-user", "--username", name, "--password-stdin")
	return login(p.t, p.s.base, name, password)
}

// url is that of a path of the server.
func (p *pages) url(path string) string { return p.s.base + path }

// begin begins what the server wants a proof for, and returns the session.
func (p *pages) begin(u *user, method, path string, body map[string]any) (session string) {
	p.t.Helper()
	asked := u.do(p.t, method, path, body)
	if session = asked.json().Get("session").String(); asked.status != http.StatusUnauthorized || session == "" {
		p.t.Fatalf("%s %s: %s", method, path, asked)
	}
	return session
}

// stage opens the page on which a stage is completed, as an app does: where there are scripts in another
// tab, which tells the app.
func (p *pages) stage(b *tab, stage, session string) *tab {
	p.t.Helper()
	at := p.url(clientV3 + "/auth/" + stage + "/fallback/web?session=" + url.QueryEscape(session))
	if !p.scripts {
		b.open(at)
		return b
	}
	b.open(p.app.URL)
	return b.popUp(fmt.Sprintf("void window.open(%q)", at))
}

// done makes sure that a stage is done, and that the app was told, in a story with scripts.
func (p *pages) done(b, page *tab) {
	p.t.Helper()
	page.sees("Done. Go back to your app now.")
	if p.scripts {
		b.evaluates("told.join()", p.s.base+" authDone")
	}
}

var mailedLink = regexp.MustCompile(`http://\S+/_hearth/email/confirm\?\S+`)

// link is where the only mail leads that came to an address since the last time.
func (p *pages) link(to string) string {
	p.t.Helper()
	letters := p.office.Take()
	if len(letters) != 1 || letters[0].To != to {
		p.t.Fatalf("mail for %s: %v", to, letters)
	}
	return mailedLink.FindString(letters[0].Text)
}

// form is what a server answers to a form that an app sends.
func (p *pages) form(path string, values url.Values) gjson.Result {
	p.t.Helper()
	res, err := httpClient.PostForm(p.url(path), values)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s %v\n%s", path, res.Status, err, body)
	}
	return gjson.ParseBytes(body)
}
