package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hearth/internal/httpapi"
)

func authenticate(_ context.Context, token string) (*httpapi.Requester, error) {
	if token != "secret" {
		return nil, httpapi.UnknownToken(false)
	}
	return &httpapi.Requester{UserID: "@a:test", DeviceID: "D"}, nil
}

func echoRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "PUT", Path: "/rooms/{roomId}/state/{eventType}/{stateKey}", Handle: echoVars},
		{Method: "PUT", Path: "/rooms/{roomId}/state/{eventType}/", Handle: echoVars},
		{Method: "POST", Path: "/body", Auth: httpapi.AuthNone, MaxBody: 1000, Handle: func(r *http.Request, _ *httpapi.Requester) (any, error) {
			var body struct {
				A struct{ B []int }
			}
			return &body, httpapi.DecodeJSON(r, &body)
		}},
		{Method: "POST", Path: "/empty", Auth: httpapi.AuthNone, Handle: func(r *http.Request, _ *httpapi.Requester) (any, error) {
			var body struct{ A int }
			return nil, httpapi.DecodeOptionalJSON(r, &body)
		}},
		{Method: "GET", Path: "/panic", Auth: httpapi.AuthNone, Handle: func(*http.Request, *httpapi.Requester) (any, error) { panic("oh") }},
		{Method: "GET", Path: "/fail", Auth: httpapi.AuthNone, Handle: func(*http.Request, *httpapi.Requester) (any, error) {
			return nil, errors.New("a secret of the database")
		}},
		{Method: "GET", Path: "/limited", Auth: httpapi.AuthNone, Rate: httpapi.RateLogin, Handle: func(*http.Request, *httpapi.Requester) (any, error) { return httpapi.Raw(`{"a":"<&>"}`), nil }},
		{Method: "GET", Path: "/guest", Auth: httpapi.AuthOptional, Handle: func(_ *http.Request, u *httpapi.Requester) (any, error) {
			return map[string]any{"known": u != nil}, nil
		}},
	}
}

func echoVars(r *http.Request, u *httpapi.Requester) (any, error) {
	return map[string]string{"room": httpapi.Var(r, "roomId"), "key": httpapi.Var(r, "stateKey"), "user": u.UserID}, nil
}

// TestAnswers goes through the ways a request can be put wrong, and right.
func TestAnswers(t *testing.T) {
	s := httpapi.NewServer(httpapi.Options{Authenticate: authenticate,
		RateLimits: map[httpapi.RateClass]httpapi.Limit{httpapi.RateLogin: {PerSecond: 0.001, Burst: 2}}})
	s.Register([]string{"/_matrix/client/v3", "/_matrix/client/r0"}, echoRoutes())
	ts := httptest.NewServer(s)
	defer ts.Close()
	const token = "Bearer secret"
	for _, c := range []struct {
		name, method, path, auth, body string
		status                         int
		want                           string
	}{
		{"escaped variables", "PUT", "/v3/rooms/!r%2Fx:test/state/t/%40a%25:test", token, `{}`, 200, `{"key":"@a%:test","room":"!r/x:test","user":"@a:test"}`},
		{"empty state key under the old prefix", "PUT", "/r0/rooms/!r/state/t/", token, `{}`, 200, `{"key":"","room":"!r","user":"@a:test"}`},
		{"token in the query", "PUT", "/v3/rooms/!r/state/t/k?access_token=secret", "", `{}`, 200, `"user":"@a:test"`},
		{"no token", "PUT", "/v3/rooms/!r/state/t/k", "", `{}`, 401, `M_MISSING_TOKEN`},
		{"wrong token", "PUT", "/v3/rooms/!r/state/t/k", "Bearer x", `{}`, 401, `"soft_logout":false`},
		{"NUL in the path", "PUT", "/v3/rooms/%00/state/t/k", token, `{}`, 400, `M_INVALID_PARAM`},
		{"broken UTF-8 in the path", "PUT", "/v3/rooms/%ff/state/t/k", token, `{}`, 400, `M_INVALID_PARAM`},
		{"broken query", "GET", "/v3/guest?a=%zz", "", ``, 400, `M_INVALID_PARAM`},
		{"unknown path", "GET", "/v3/nothing", token, "", 404, `M_UNRECOGNIZED`},
		{"double slash", "GET", "/v3//guest", token, "", 404, `M_UNRECOGNIZED`},
		{"wrong method", "DELETE", "/v3/guest", token, "", 405, `M_UNRECOGNIZED`},
		{"right body", "POST", "/v3/body", "", `{"a":{"b":[1]}}`, 200, `{"A":{"B":[1]}}`},
		{"not JSON", "POST", "/v3/body", "", `{"a":`, 400, `M_NOT_JSON`},
		{"two values", "POST", "/v3/body", "", `{} {}`, 400, `M_NOT_JSON`},
		{"empty body", "POST", "/v3/body", "", ``, 400, `M_NOT_JSON`},
		{"not UTF-8", "POST", "/v3/body", "", "{\"\xff\":1}", 400, `M_NOT_JSON`},
		{"wrong type", "POST", "/v3/body", "", `{"a":{"b":"x"}}`, 400, `M_BAD_JSON`},
		{"an array", "POST", "/v3/body", "", `[]`, 400, `M_BAD_JSON`},
		{"too deep", "POST", "/v3/body", "", `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, 400, `M_BAD_JSON`},
		{"too large", "POST", "/v3/body", "", `{"a":"` + strings.Repeat("x", 1000) + `"}`, 413, `M_TOO_LARGE`},
		{"empty where it may be", "POST", "/v3/empty", "", ``, 200, `{}`},
		{"panic", "GET", "/v3/panic", "", "", 500, `{"errcode":"M_UNKNOWN","error":"Internal server error"}`},
		{"internal error", "GET", "/v3/fail", "", "", 500, `{"errcode":"M_UNKNOWN","error":"Internal server error"}`},
		{"first", "GET", "/v3/limited", "", "", 200, `{"a":"<&>"}`},
		{"second", "GET", "/r0/limited", "", "", 200, `{"a":"<&>"}`},
		{"third", "GET", "/v3/limited", "", "", 429, `"retry_after_ms":`},
		{"preflight", "OPTIONS", "/v3/limited", "", "", 204, ``},
		{"optional token absent", "GET", "/v3/guest", "", "", 200, `{"known":false}`},
		{"optional token present", "GET", "/v3/guest", token, "", 200, `{"known":true}`},
		{"optional token wrong", "GET", "/v3/guest", "Bearer x", "", 401, `M_UNKNOWN_TOKEN`},
	} {
		req, err := http.NewRequest(c.method, ts.URL+"/_matrix/client"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(c.name, err)
		}
		if c.auth != "" {
			req.Header.Set("Authorization", c.auth)
		}
		res, err := ts.Client().Do(req)
		if err != nil {
			t.Fatal(c.name, err)
		}
		got, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.status || !strings.Contains(string(got), c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.name, res.StatusCode, got, c.status, c.want)
		}
		if c.status >= 400 && !json.Valid(got) {
			t.Errorf("%s: %q is not JSON", c.name, got)
		}
		if res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: no CORS headers", c.name)
		}
		if (c.status == 429) != (res.Header.Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After is %q", c.name, res.Header.Get("Retry-After"))
		}
	}
}

func TestClientIP(t *testing.T) {
	s := httpapi.NewServer(httpapi.Options{})
	for _, c := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:5", "203.0.113.9", "192.0.2.1"}, // not a proxy: what it says counts for nothing
		{"127.0.0.1:5", "203.0.113.9", "203.0.113.9"},
		{"[::1]:5", "198.51.100.1, 203.0.113.9", "203.0.113.9"}, // the left part is the client's own claim
		{"127.0.0.1:5", "198.51.100.1, 127.0.0.1", "198.51.100.1"},
		{"127.0.0.1:5", "nonsense", "127.0.0.1"},
		{"127.0.0.1:5", "", "127.0.0.1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := s.ClientIP(r); got != c.want {
			t.Errorf("%s via %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

func FuzzDepth(f *testing.F) {
	f.Add([]byte(`{"a":[["\"["]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		want, depth := 0, 0
		dec := json.NewDecoder(strings.NewReader(string(text)))
		for {
			tok, err := dec.Token()
			if err != nil {
				break
			}
			switch tok {
			case json.Delim('{'), json.Delim('['):
				depth++
				want = max(want, depth)
			case json.Delim('}'), json.Delim(']'):
				depth--
			}
		}
		if got := httpapi.Depth(text); got != want {
			t.Fatalf("depth of %s is %d, not %d", text, want, got)
		}
	})
}

// BenchmarkRouting is what the chain and the router add to a handler, with about
// as many routes beside it as the client-server API has.
func BenchmarkRouting(b *testing.B) {
	s := httpapi.NewServer(httpapi.Options{Authenticate: authenticate})
	answer := func(*http.Request, *httpapi.Requester) (any, error) { return nil, nil }
	var routes []httpapi.Route
	for _, a := range strings.Fields("sync login rooms user keys account devices profile presence pushrules directory room_keys") {
		for _, c := range strings.Fields("a b c d e f g h i j k l") {
			routes = append(routes, httpapi.Route{Method: "GET", Path: "/" + a + "/{x}/" + c + "/{y}", Handle: answer})
		}
	}
	routes = append(routes,
		httpapi.Route{Method: "PUT", Path: "/rooms/{roomId}/send/{eventType}/{txnId}", Handle: answer},
		httpapi.Route{Method: "GET", Path: "/sync", Handle: answer})
	s.Register([]string{"/_matrix/client/v3", "/_matrix/client/r0"}, routes)
	for name, request := range map[string][2]string{
		"send": {"PUT", "/_matrix/client/v3/rooms/!abcdefghijklmn:example.org/send/m.room.message/m1234567"},
		"sync": {"GET", "/_matrix/client/v3/sync?since=s123_4&timeout=30000"},
	} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(request[0], request[1], nil)
			r.Header.Set("Authorization", "Bearer secret")
			b.ReportAllocs()
			for b.Loop() {
				w := discard{http.Header{}}
				s.ServeHTTP(w, r)
			}
		})
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
