package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// federating starts a server that others on this machine can find.
func federating(t *testing.T, settings ...string) (s *server, name string) {
	name = freeAddress(t)
	return startServer(t, append([]string{"server_name=" + name, "listen.federation=" + name, "federation.enabled=true",
		"federation.allow_private_ranges=true", "federation.verify_certificates=false"}, settings...)...), name
}

// hear syncs until a message with the body is in the room.
func (u *user) hear(t *testing.T, room, body string) {
	t.Helper()
	since := ""
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		r := u.ok(t, "GET", syncPath(since, "", time.Second), nil)
		since = r.Get("next_batch").Str
		for _, e := range r.Get("rooms.join." + gjson.Escape(room) + ".timeline.events").Array() {
			if e.Get("content.body").Str == body {
				return
			}
		}
	}
	t.Fatalf("%s doesn't hear %q", u.id, body)
}

// TestSharedRoom has people of two servers meet by an alias and by an invitation.
func TestSharedRoom(t *testing.T) {
	one, nameOne := federating(t)
	two, _ := federating(t)
	if !strings.Contains(one.readLog(), "level=WARN msg=\"OTHER SERVERS' CERTIFICATES AREN'T CHECKED") {
		t.Error("that certificates aren't checked isn't logged")
	}
	alice, bob := register(t, one.base, "alice"), register(t, two.base, "bob")
	room := alice.ok(t, "POST", clientV3+"/createRoom", map[string]any{"preset": "public_chat", "room_alias_name": "lobby"}).Get("room_id").Str
	joined := bob.ok(t, "POST", clientV3+"/join/"+url.PathEscape("#lobby:"+nameOne), map[string]any{}).Get("room_id").Str
	if joined != room {
		t.Fatalf("joined %s, not %s", joined, room)
	}
	say := func(u *user, room, body string) {
		u.ok(t, "PUT", clientV3+"/rooms/"+url.PathEscape(room)+"/send/m.room.message/"+body, map[string]any{"msgtype": "m.text", "body": body})
	}
	say(alice, room, "hello")
	bob.hear(t, room, "hello")
	say(bob, room, "hi")
	alice.hear(t, room, "hi")

	private := bob.ok(t, "POST", clientV3+"/createRoom", map[string]any{"invite": []string{alice.id}, "name": "Just us", "is_direct": true}).Get("room_id").Str
	invite := "rooms.invite." + gjson.Escape(private) + ".invite_state.events"
	deadline := time.Now().Add(30 * time.Second)
	for shown := false; !shown; {
		r := alice.ok(t, "GET", clientV3+"/sync", nil)
		for _, e := range r.Get(invite).Array() {
			shown = shown || e.Get("content.name").Str == "Just us"
		}
		if time.Now().After(deadline) {
			t.Fatalf("the invitation shows %s", r.Get(invite).Raw)
		}
	}
	alice.ok(t, "POST", clientV3+"/rooms/"+url.PathEscape(private)+"/join", map[string]any{})
	say(alice, private, "here-I-am")
	bob.hear(t, private, "here-I-am")
	alice.ok(t, "POST", clientV3+"/rooms/"+url.PathEscape(private)+"/leave", map[string]any{})
}

// TestQuietClientIsParked has clients of both kinds of sync wait for whom nothing
// happens: their requests cost no goroutine, are answered when something does, and say
// that nothing did otherwise.
func TestQuietClientIsParked(t *testing.T) {
	metrics := freeAddress(t)
	s := startServer(t, "listen.metrics="+metrics)
	alice, bob := register(t, s.base, "alice"), register(t, s.base, "bob")
	room := alice.ok(t, "POST", clientV3+"/createRoom", map[string]any{"preset": "public_chat"}).Get("room_id").Str
	bob.ok(t, "POST", clientV3+"/rooms/"+url.PathEscape(room)+"/join", map[string]any{})
	waiter, operator := *bob, &user{base: "http://" + metrics}
	waiter.base = s.direct
	parked := func(n int) {
		t.Helper()
		text := fmt.Sprintf("hearth_http_requests_parked %d\n", n)
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(string(operator.do(t, "GET", "/metrics", nil).body), text); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it isn't %d requests that are parked", n)
			}
		}
	}
	ask := func(method, path string, body any) <-chan gjson.Result {
		answered := make(chan gjson.Result, 1)
		go func() {
			a, err := waiter.try(t.Context(), method, path, body)
			if err != nil {
				t.Error(err)
			}
			answered <- a.json()
		}()
		return answered
	}
	since := waiter.ok(t, "GET", clientV3+"/sync", nil).Get("next_batch").Str
	const sliding = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
	lists := map[string]any{"lists": map[string]any{"all": map[string]any{"ranges": [][]int{{0, 9}}, "timeline_limit": 5, "required_state": []any{}}}}
	pos := waiter.ok(t, "POST", sliding, lists).Get("pos").Str
	first := ask("POST", sliding+"?timeout=60000&pos="+pos, lists)
	parked(1)
	second := ask("POST", sliding+"?timeout=60000&pos="+pos, lists)
	if r := <-first; r.Get("pos").Str != pos || len(r.Get("rooms").Map()) > 0 {
		t.Errorf("the request in whose place another came was answered %s", r.Raw)
	}
	parked(1)
	for range 2 {
		a := waiter.ok(t, "GET", clientV3+"/sync?timeout=5500&since="+since, nil)
		if a.Get("next_batch").Str != since || a.Get("rooms").Exists() {
			t.Errorf("when nothing happened the answer was %s", a.Raw)
		}
	}
	third := ask("GET", clientV3+"/sync?timeout=60000&since="+since, nil)
	parked(2)
	alice.ok(t, "PUT", clientV3+"/rooms/"+url.PathEscape(room)+"/send/m.room.message/1", map[string]any{"msgtype": "m.text", "body": "wake up"})
	for _, answered := range []<-chan gjson.Result{second, third} {
		if r := <-answered; !strings.Contains(r.Raw, "wake up") {
			t.Errorf("a waiting client was answered %s", r.Raw)
		}
	}
}
