package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProgramLife is the life of one server: accounts from the command line,
// a second start, an orderly end in the middle of a long poll, and a restart.
func TestProgramLife(t *testing.T) {
	s := newServer(t, "registration.enabled=false")
	create := func(name string, more ...string) (string, int) {
		args := append([]string{"create-user", "--config", s.config, "--username", name, "--password-stdin"}, more...)
		_, stderr, code := s.run(password+"\n", args...)
		return stderr, code
	}
	if stderr, code := create("early", "--admin"); code != 0 {
		t.Fatalf("create-user before the first start: status %d\n%s", code, stderr)
	}
	s.start()
	if stderr, code := create("late"); code != 0 {
		t.Fatalf("create-user beside a running server: status %d\n%s", code, stderr)
	}
	if stderr, code := create("early"); code == 0 || !strings.Contains(stderr, "early") {
		t.Errorf("create-user with a name that is taken: status %d\n%s", code, stderr)
	}
	if stderr, code := create("No Such Name"); code == 0 || stderr == "" {
		t.Errorf("create-user with an impossible name: status %d\n%s", code, stderr)
	}
	for _, c := range []struct{ args, out, failure string }{
		{"create spring --uses 2 --expires 48h", "spring\n", ""},
		{"create spring", "", "already"},
		{"create bad/token", "", "characters"},
		{"list", "spring  0     2", ""},
		{"delete spring", "", ""},
		{"delete spring", "", "no token"},
	} {
		stdout, stderr, code := s.run("", append(append([]string{"registration-token"}, strings.Fields(c.args)...), "--config", s.config)...)
		if !strings.Contains(stdout, c.out) || !strings.Contains(stderr, c.failure) || (code == 0) != (c.failure == "") {
			t.Errorf("registration-token %s: status %d\n%s%s", c.args, code, stdout, stderr)
		}
	}
	early, late := login(t, s.base, "early", password), login(t, s.base, "@late:hearth.test", password)
	nobody := &user{base: s.base}
	nobody.refused(t, http.StatusForbidden, "M_FORBIDDEN", "POST", clientV3+"/register", map[string]any{
		"username": "uninvited", "password": password, "auth": map[string]any{"type": "m.login.dummy"},
	})

	room := early.createRoom(t, map[string]any{"preset": "public_chat"})
	late.join(t, room)
	said := early.say(t, room, "before the restart")
	s.refusesSecondStart()

	since := late.sync(t, "", "").Get("next_batch").String()
	poll := make(chan answer, 1)
	go func() {
		a, err := late.try(context.Background(), http.MethodGet, syncPath(since, "", time.Minute), nil)
		if err != nil {
			a.body = []byte(err.Error())
		}
		poll <- a
	}()
	waitFor(t, "the long poll is under way", func() bool { time.Sleep(200 * time.Millisecond); return true })
	s.stop()
	if a := <-poll; a.status != http.StatusOK && a.status != http.StatusServiceUnavailable && a.status != http.StatusBadGateway && a.status != 0 {
		t.Errorf("a long poll during the shutdown: %s", a)
	}

	s.start()
	for _, u := range []*user{early, late} {
		if me := u.ok(t, "GET", clientV3+"/account/whoami", nil).Get("user_id").String(); me != u.id {
			t.Errorf("after a restart %s is taken for %s", u.id, me)
		}
	}
	late.ok(t, "GET", inRoom(room, "event/"+said), nil)
	if again := early.say(t, room, "before the restart"); again != said {
		t.Errorf("the transaction was forgotten over a restart: %s, then %s", said, again)
	}
	after := early.say(t, room, "after the restart")
	events := late.sync(t, since, "").Get("rooms.join." + escapeKey(room) + ".timeline.events").Array()
	if len(events) != 1 || events[0].Get("event_id").String() != after {
		t.Errorf("a sync token from before the restart brings %v", events)
	}
}

// refusesSecondStart asserts that nobody can start the same data directory twice.
func (s *server) refusesSecondStart() {
	s.t.Helper()
	config := filepath.Join(s.t.TempDir(), "second.yaml")
	b, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	// Another address: what must collide is the data directory, not the port.
	address := strings.TrimPrefix(s.direct, "http://")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(b), address, freeAddress(s.t))), 0o600); err != nil {
		s.t.Fatal(err)
	}
	_, stderr, code := s.run("", "serve", "--config", config)
	if code == 0 || !strings.Contains(stderr, s.dataDir) {
		s.t.Errorf("a second start on the same data directory: status %d\n%s", code, stderr)
	}
	if strings.Contains(stderr, "goroutine ") {
		s.t.Errorf("a second start is refused with a stack trace:\n%s", stderr)
	}
	if !s.answers() {
		s.t.Error("after a second start was refused, the first no longer answers")
	}
}

// TestProgramConfig drives the commands around the configuration file.
func TestProgramConfig(t *testing.T) {
	s := newServer(t)
	if _, stderr, code := s.run("", "check-config", "--config", s.config); code != 0 {
		t.Errorf("check-config of a generated file: status %d\n%s", code, stderr)
	}
	if out, _, code := s.run("", "version"); code != 0 || strings.TrimSpace(out) == "" {
		t.Errorf("version: status %d, %q", code, out)
	}
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"create-user", "--help"}, {"generate-config", "--help"}} {
		if out, stderr, code := s.run("", args...); code != 0 || len(out+stderr) < 100 {
			t.Errorf("%v: status %d, %q", args, code, out+stderr)
		}
	}
	good, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, replace, with, want string }{
		{"a misspelt key", "rate_limits:", "rate_limit:", "rate_limits"},
		{"a value of the wrong type", "server_name: hearth.test", "server_name: [hearth.test]", "server_name"},
		{"an impossible server name", "server_name: hearth.test", "server_name: not a name", "server_name"},
	} {
		if !strings.Contains(string(good), c.replace) {
			t.Errorf("the generated configuration lacks %q", c.replace)
			continue
		}
		bad := filepath.Join(t.TempDir(), "bad.yaml")
		if err := os.WriteFile(bad, []byte(strings.Replace(string(good), c.replace, c.with, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"check-config", "serve"} {
			_, stderr, code := s.run("", command, "--config", bad)
			if code == 0 || !strings.Contains(stderr, "bad.yaml") || !strings.Contains(stderr, c.want) {
				t.Errorf("%s with %s: status %d\n%s", command, c.name, code, stderr)
			}
		}
	}
	if _, stderr, code := s.run("", "serve", "--config", filepath.Join(t.TempDir(), "nosuch.yaml")); code == 0 || !strings.Contains(stderr, "nosuch.yaml") {
		t.Errorf("serve without its file: status %d\n%s", code, stderr)
	}
	if _, stderr, code := s.run("", "generate-config", "--server-name", "x.test", "--set", "nosuch.key=1"); code == 0 || !strings.Contains(stderr, "nosuch") {
		t.Errorf("generate-config with an unknown key: status %d\n%s", code, stderr)
	}
	if out, stderr, code := s.run("", "generate-config"); code == 0 || out != "" || !strings.Contains(stderr, "server-name") {
		t.Errorf("generate-config without a name: status %d\n%s", code, stderr)
	}
}

// TestProgramDatabase runs the server on a PostgreSQL of somebody else's: here
// the private one of another Hearth's data directory, in a database of its own.
func TestProgramDatabase(t *testing.T) {
	s := startServer(t, "database="+externalDatabase(t))
	u := register(t, s.base, "guest")
	room := u.createRoom(t, map[string]any{"preset": "private_chat"})
	said := u.say(t, room, "hello")
	s.kill()
	s.start()
	u.ok(t, "GET", inRoom(room, "event/"+said), nil)
	if _, stderr, code := s.run(password+"\n", "create-user", "--config", s.config, "--username", "other", "--password-stdin"); code != 0 {
		t.Errorf("create-user on an external database: status %d\n%s", code, stderr)
	}
	login(t, s.base, "other", password)
	s.refusesSecondStart()
	s.stop()
	s.start()
	u.say(t, room, "hello again")
}

// TestLandingPage looks at what a person sees who opens the server in a browser.
func TestLandingPage(t *testing.T) {
	s := startServer(t, "public_base_url=https://matrix.hearth.test")
	u := &user{base: s.direct}
	page := u.do(t, "GET", "/", nil)
	text := string(page.body)
	if page.status != http.StatusOK || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") || !strings.Contains(text, "hearth.test") {
		t.Errorf("the landing page: %s", page)
	}
	for _, outside := range []string{"src=\"http", "@import", "<script src", "rel=\"stylesheet\" href=\"http"} {
		if strings.Contains(text, outside) {
			t.Errorf("the landing page loads something from elsewhere: %q", outside)
		}
	}
	wellKnown := u.ok(t, "GET", "/.well-known/matrix/client", nil)
	if got := wellKnown.Get(`m\.homeserver.base_url`).String(); got != "https://matrix.hearth.test" {
		t.Errorf("/.well-known/matrix/client names %q", got)
	}
}
