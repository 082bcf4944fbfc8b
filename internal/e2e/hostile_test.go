package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// stand is where the hostile requests are made: a server, a user of it, and
// real things that paths can name.
type stand struct {
	server *server
	alice  *user
	room   string
	event  string
	txn    int
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := startServer(t)
	alice := register(t, s.base, "alice")
	room := alice.createRoom(t, map[string]any{"preset": "public_chat", "room_alias_name": "square"})
	return &stand{server: s, alice: alice, room: room, event: alice.say(t, room, "hello")}
}

// fillPath puts real things, or those of replace, in the path's braces.
func (s *stand) fillPath(path string, replace map[string]string) string {
	s.txn++
	values := map[string]string{
		"room": s.room, "event": s.event, "me": s.alice.id, "device": s.alice.device,
		"alias": "#square:hearth.test", "txn": fmt.Sprint("hostile", s.txn),
	}
	for name, value := range replace {
		values[name] = value
	}
	for name, value := range values {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
	}
	return path
}

// checkAnswer holds what every answer must be, whatever the request: never the
// server's fault, a standard error if an error, and readable for web clients.
func checkAnswer(t *testing.T, request string, a answer) {
	t.Helper()
	if a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%s: no CORS headers in %s", request, a)
	}
	if a.status >= 500 {
		t.Errorf("%s: the server blames itself: %s", request, a)
	}
	if a.status >= 400 {
		body := a.json()
		asksForAuth := a.status == http.StatusUnauthorized && body.Get("flows").IsArray()
		if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
			t.Errorf("%s: an error of type %q", request, kind)
		}
		if !asksForAuth && (!strings.HasPrefix(a.errcode(), "M_") || body.Get("error").String() == "") {
			t.Errorf("%s: not a standard error: %s", request, a)
		}
	}
}

// send makes a request that must be answered with one of the codes, given as
// "400 M_NOT_JSON"; a bare "4" takes any refusal.
func (s *stand) send(t *testing.T, u *user, method, path string, body any, want ...string) {
	t.Helper()
	a := u.do(t, method, path, body)
	request := method + " " + path
	if body != nil {
		request += " " + abridge(string(encode(body)))
	}
	checkAnswer(t, request, a)
	got := fmt.Sprint(a.status, " ", a.errcode())
	if !slices.ContainsFunc(want, func(w string) bool { return got == w || len(w) == 1 && strings.HasPrefix(got, w) }) {
		t.Errorf("%s: want %v, got %s", request, want, a)
	}
}

func abridge(text string) string {
	if len(text) > 80 {
		return fmt.Sprintf("%.60q… (%d bytes)", text, len(text))
	}
	return fmt.Sprintf("%q", text)
}

// TestHostileRequests sends every endpoint what no client should.
func TestHostileRequests(t *testing.T) {
	s := newStand(t)
	for _, e := range endpoints {
		t.Run(e.method+strings.ReplaceAll(e.path, "/", " "), func(t *testing.T) {
			s.checkToken(t, e)
			s.checkMethods(t, e)
			s.checkBodies(t, e)
			s.checkNames(t, e)
		})
	}
	s.checkAlive(t)
}

// checkAlive asserts that the server has survived all of it without a panic.
func (s *stand) checkAlive(t *testing.T) {
	t.Helper()
	s.alice.say(t, s.room, "still here")
	if log := s.server.readLog(); strings.Contains(log, "panic") {
		t.Errorf("the server's log speaks of a panic:\n%s", tail(log, 60))
	}
}

// https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
func (s *stand) checkToken(t *testing.T, e endpoint) {
	t.Helper()
	path := s.fillPath(e.path, nil)
	nobody, stranger := &user{base: s.server.base}, &user{base: s.server.base, token: "not-a-token"}
	var body any
	if e.wrong != nil {
		body = "{}"
	}
	switch e.access {
	case tokenNeeded:
		s.send(t, nobody, e.method, path, body, "401 M_MISSING_TOKEN")
		s.send(t, stranger, e.method, path, body, "401 M_UNKNOWN_TOKEN")
		if soft := stranger.do(t, e.method, path, body).json().Get("soft_logout"); soft.Bool() {
			t.Errorf("soft_logout for a token that never was: %s", soft)
		}
	case tokenOptional:
		s.send(t, stranger, e.method, path, body, "401 M_UNKNOWN_TOKEN")
	case tokenIgnored:
	}
}

// https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients
func (s *stand) checkMethods(t *testing.T, e endpoint) {
	t.Helper()
	path := s.fillPath(e.path, nil)
	preflight := (&user{base: s.server.base}).do(t, http.MethodOptions, path, nil)
	checkAnswer(t, "OPTIONS "+path, preflight)
	if preflight.status/100 != 2 {
		t.Errorf("OPTIONS %s: %s", path, preflight)
	}
	for header, want := range map[string]string{
		"Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
		"Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
	} {
		got := preflight.header.Get(header)
		for word := range strings.SplitSeq(want, ", ") {
			if !slices.Contains(strings.Split(strings.ReplaceAll(got, " ", ""), ","), word) {
				t.Errorf("OPTIONS %s: %s: %s lacks %s", path, header, got, word)
			}
		}
	}
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
		known := slices.ContainsFunc(endpoints, func(o endpoint) bool { return o.method == method && o.path == e.path }) ||
			strings.Contains(e.path, "/state/") && (method == "GET" || method == "PUT")
		if !known {
			s.send(t, s.alice, method, path, nil, "405 M_UNRECOGNIZED")
		}
	}
}

// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
func (s *stand) checkBodies(t *testing.T, e endpoint) {
	t.Helper()
	if e.wrong == nil {
		return
	}
	send := func(body string, want ...string) {
		t.Helper()
		s.send(t, s.alice, e.method, s.fillPath(e.path, nil), body, want...)
	}
	for _, body := range []string{`{"a":`, `{'a':1}`, `{"a":1}x`, "\x00", "%", `{"a":"` + "\xff" + `"}`} {
		send(body, "400 M_NOT_JSON")
	}
	for _, body := range []string{`[]`, `"text"`, `12`, `true`} {
		send(body, "400 M_BAD_JSON")
	}
	send(`{"a":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`}`, "400 M_NOT_JSON", "400 M_BAD_JSON", "413 M_TOO_LARGE")
	send(`{"a":"`+strings.Repeat("x", 3<<20)+`"}`, "413 M_TOO_LARGE")
	for _, body := range e.wrong {
		send(body, "400 M_BAD_JSON", "400 M_INVALID_PARAM")
	}
}

// checkNames asks for things that don't exist, or can't.
func (s *stand) checkNames(t *testing.T, e endpoint) {
	t.Helper()
	var body any
	if e.wrong != nil {
		body = "{}"
	}
	for name, values := range map[string][]string{
		"room":  {"!nosuch:hearth.test", "!nosuch", "nonsense", "!\x00:hearth.test", "!" + strings.Repeat("x", 400) + ":hearth.test", "!\xff:b"},
		"event": {"$nosuch", "nonsense", "$\x00", "$" + strings.Repeat("x", 400), "$\xff"},
		"alias": {"#nosuch:hearth.test", "nonsense", "#\x00:hearth.test", "#" + strings.Repeat("x", 400) + ":hearth.test", "#a:\xff"},
		"me":    {"@nosuch:hearth.test", "nonsense", "@\x00:hearth.test", "@" + strings.Repeat("x", 400) + ":hearth.test", "@a:\xff"},
	} {
		if !strings.Contains(e.path, "{"+name+"}") {
			continue
		}
		for _, value := range values {
			a := s.alice.do(t, e.method, s.fillPath(e.path, map[string]string{name: value}), body)
			checkAnswer(t, fmt.Sprintf("%s %s with %s %.40q", e.method, e.path, name, value), a)
		}
	}
}
