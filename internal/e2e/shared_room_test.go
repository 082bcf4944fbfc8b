package e2e

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// federating starts a server that others on this machine can find.
func federating(t *testing.T) (s *server, name string) {
	name = freeAddress(t)
	return startServer(t, "server_name="+name, "listen.federation="+name, "federation.enabled=true",
		"federation.allow_private_ranges=true", "federation.verify_certificates=false"), name
}

// hear syncs until a message with the body is in the room.
func (u *user) hear(t *testing.T, room, body string) {
	t.Helper()
	since := ""
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		r := u.ok(t, "GET", clientV3+"/sync?timeout=1000&since="+since, nil)
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

// TestQuietClientIsParked has a client wait for whom nothing happens: its requests cost no
// goroutine, are answered with the same token when their time is up, and with
// what happens when something does.
func TestQuietClientIsParked(t *testing.T) {
	metrics := freeAddress(t)
	s := startServer(t, "listen.metrics="+metrics)
	alice, bob := register(t, s.base, "alice"), register(t, s.base, "bob")
	room := alice.ok(t, "POST", clientV3+"/createRoom", map[string]any{"preset": "public_chat"}).Get("room_id").Str
	bob.ok(t, "POST", clientV3+"/rooms/"+url.PathEscape(room)+"/join", map[string]any{})
	waiter := *bob
	waiter.base = s.direct
	since := waiter.ok(t, "GET", clientV3+"/sync", nil).Get("next_batch").Str
	for range 2 {
		a := waiter.ok(t, "GET", clientV3+"/sync?timeout=5500&since="+since, nil)
		if a.Get("next_batch").Str != since || a.Get("rooms").Exists() {
			t.Errorf("when nothing happened the answer was %s", a.Raw)
		}
	}
	answered := make(chan gjson.Result, 1)
	go func() {
		a, err := waiter.try(t.Context(), "GET", clientV3+"/sync?timeout=60000&since="+since, nil)
		if err != nil {
			t.Error(err)
		}
		answered <- a.json()
	}()
	operator := &user{base: "http://" + metrics}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if strings.Contains(string(operator.do(t, "GET", "/metrics", nil).body), "hearth_http_requests_parked 1\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the request isn't parked")
		}
	}
	alice.ok(t, "PUT", clientV3+"/rooms/"+url.PathEscape(room)+"/send/m.room.message/1", map[string]any{"msgtype": "m.text", "body": "wake up"})
	if r := <-answered; !strings.Contains(r.Raw, "wake up") {
		t.Errorf("the waiting client was answered %s", r.Raw)
	}
}
