package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestRefusesOtherMachines(t *testing.T) {
	for url, allowed := range map[string]bool{
		"http://127.0.0.1:8008": true, "http://localhost:8008/": true, "http://[::1]:8008/prefix": true, "http://127.5.6.7": true,
		"http://192.0.2.1:8008": false, "http://0.0.0.0:8008": false, "https://127.0.0.1": false, "127.0.0.1:8008": false, "http://": false,
	} {
		if _, err := ParseTarget(t.Context(), url); (err == nil) != allowed {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestConnReadsWhatServersAnswer talks to net/http: lengths, chunks, errors with
// Retry-After, and a server that closes the connection between two requests.
func TestConnReadsWhatServersAnswer(t *testing.T) {
	big := strings.Repeat("0123456789", 50_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/echo":
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("Authorization"), body)
		case "/chunks":
			for i := 0; i < len(big); i += 100_000 {
				_, _ = io.WriteString(w, big[i:i+100_000])
				w.(http.Flusher).Flush()
			}
		case "/busy":
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/last":
			w.Header().Set("Connection", "close")
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer server.Close()
	target, err := ParseTarget(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := NewConn(t.Context(), target)
	defer c.Close()
	do := func(r Request) Response {
		t.Helper()
		resp, err := c.Do(r)
		if err != nil {
			t.Fatalf("%s %s: %v", r.Method, r.Path, err)
		}
		return resp
	}
	for range 2 {
		if got := do(Request{Method: "PUT", Path: "/echo", Token: "secret", Body: []byte("{}")}); string(got.Body) != "PUT Bearer secret {}" {
			t.Errorf("answered %q", got.Body)
		}
		if got := do(Request{Method: "GET", Path: "/chunks"}); string(got.Body) != big {
			t.Errorf("read %d bytes of chunks, want %d", len(got.Body), len(big))
		}
		if got := do(Request{Method: "GET", Path: "/busy"}); got.Status != 429 || got.RetryAfter != 3*time.Second {
			t.Errorf("answered %d, again after %v", got.Status, got.RetryAfter)
		}
		if got := do(Request{Method: "GET", Path: "/none"}); got.Status != 204 || len(got.Body) != 0 {
			t.Errorf("answered %d %q", got.Status, got.Body)
		}
		do(Request{Method: "GET", Path: "/last"})
	}
	server.CloseClientConnections()
	if got := do(Request{Method: "GET", Path: "/echo"}); got.Status != 200 {
		t.Errorf("after the server closed the connection it answered %d", got.Status)
	}
}

func TestConnEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	target, err := ParseTarget(t.Context(), "http://"+l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := NewConn(ctx, target)
	defer c.Close()
	go func() {
		if nc, err := l.Accept(); err == nil { // answers nothing
			_, _ = io.Copy(io.Discard, nc)
			_ = nc.Close()
		}
	}()
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := c.Do(Request{Method: "GET", Path: "/"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled request ended with %v", err)
	}
}

func TestScannerFindsItsWay(t *testing.T) {
	const doc = ` { "a" : [1, {"x":"}]\\\""}, "\u00e9\"", null ], "b\n" : {"c":true,"d":-12}, "e":[] } `
	var got []string
	s := NewScanner([]byte(doc))
	s.Object(func(key []byte) {
		switch string(key) {
		case "a":
			s.Array(func() { got = append(got, string(s.Raw())) })
		case "b\n":
			s.Object(func(key []byte) {
				if string(key) == "c" {
					got = append(got, fmt.Sprint(s.Bool()))
				} else {
					got = append(got, fmt.Sprint(s.Int()))
				}
			})
		default:
			s.Array(func() { t.Error("an empty array has an element") })
		}
	})
	want := []string{"1", `{"x":"}]\\\""}`, `"\u00e9\""`, "null", "true", "-12"}
	if s.Err() != nil || strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("found %q, %v, want %q", got, s.Err(), want)
	}
}

// FuzzScanner walks anything without a panic or a hang.
func FuzzScanner(f *testing.F) {
	f.Add([]byte(`{"rooms":{"join":{"!a":{"timeline":{"events":[{"event_id":"$a"}]}}}}}`))
	f.Add([]byte(`[{"a":"\"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewScanner(b)
		var walk func()
		depth := 0
		walk = func() {
			if depth++; depth > 50 {
				s.Skip()
			} else {
				switch s.peek() {
				case '{':
					s.Object(func([]byte) { walk() })
				case '[':
					s.Array(walk)
				default:
					s.String()
				}
			}
			depth--
		}
		walk()
	})
}
