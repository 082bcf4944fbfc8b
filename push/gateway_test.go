package push_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// TestGateway follows somebody's phone: messages, mentions, invitations, what was read
// elsewhere, a gateway that fails, a restart, and the end of the pusher.
func TestGateway(t *testing.T) {
	w, g := newWorld(t, true), newGateway(t)
	room := w.room("alice", object{"name": "Tea", "room_alias_name": "tea"}, "bob", "carol")
	w.say(room, "alice", "before there was a pusher")
	w.ok("PUT", "/profile/"+id("alice")+"/displayname", "alice", object{"displayname": "Alice"})
	w.ok("POST", "/pushers/set", "bob", g.pusher("bob-phone", object{"custom": 1}))
	g.nothing()
	event := w.say(room, "alice", "hello")
	n := g.next()
	want(t, "a message", brief(n), `hello unread 2 low bob-phone`)
	want(t, "its fields", strings.Join([]string{n.Get("event_id").Str, n.Get("room_id").Str, n.Get("type").Str, n.Get("sender").Str,
		n.Get("room_name").Str, n.Get("room_alias").Str, n.Get("devices.0.app_id").Str, n.Get("devices.0.data").Raw}, " "),
		strings.Join([]string{event, room, "m.room.message", id("alice"), "Tea", "#tea:test.local", "org.example.app", `{"custom":1}`}, " "))
	if ts := n.Get("devices.0.pushkey_ts").Int(); ts < 1e9 || ts > 1e10 {
		t.Errorf("pushkey_ts is %d", ts)
	}
	last := w.send(room, "alice", "m.room.message", message("bob!", object{"m.mentions": object{"user_ids": []string{id("bob")}}}))
	want(t, "a mention", brief(g.next()), `bob! unread 3 high bob-phone {"highlight":true,"sound":"default"}`)
	w.say(room, "bob", "my own")
	want(t, "who speaks has read", brief(g.next()), `unread bob-phone`)
	w.say(room, "alice", "again")
	want(t, "again", brief(g.next()), `again unread 1 low bob-phone`)
	w.read(room, "bob", last)
	g.nothing() // the receipt is older than what is unread
	other := w.ok("POST", "/createRoom", "carol", object{"invite": []string{id("bob")}, "is_direct": true}).Get("room_id").Str
	n = g.next()
	want(t, "an invitation", n.Get("type").Str+" "+n.Get("user_is_target").Raw+" "+n.Get("content.membership").Str, "m.room.member true invite")
	w.ok("POST", "/join/"+other, "bob", object{})
	w.send(other, "carol", "m.room.encrypted", object{"algorithm": "x"})
	n = g.next()
	want(t, "in a room of two", brief(n), `unread 2 high bob-phone {"sound":"default"}`)
	w.ok("PUT", rulePath("room", room, ""), "bob", object{"actions": []any{}})
	w.say(room, "alice", "muted")
	g.nothing()
	testFailingGateway(t, w, g, other)
}

func testFailingGateway(t *testing.T, w *world, g *gateway, room string) {
	fail := func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusBadGateway) }
	redirect := func(rw http.ResponseWriter) {
		rw.Header().Set("Location", "/elsewhere")
		rw.WriteHeader(http.StatusTemporaryRedirect)
	}
	g.answer <- fail
	g.answer <- redirect
	w.say(room, "carol", "one")
	w.say(room, "carol", "two")
	want(t, "after failures, one", g.next().Get("content.body").Str, "one")
	want(t, "after failures, two", g.next().Get("content.body").Str, "two")
	g.nothing()
	for range 3 {
		g.answer <- fail
	}
	w.say(room, "carol", "three")
	for len(g.answer) == 3 {
		time.Sleep(10 * time.Millisecond)
	}
	w.restart()
	want(t, "after a restart", g.next().Get("content.body").Str, "three")
	w.restart()
	w.say(room, "carol", "four")
	want(t, "once more", g.next().Get("content.body").Str, "four")
	g.nothing()
	g.answer <- func(rw http.ResponseWriter) {
		rw.Header().Set("Accepted", "yes")
		fmt.Fprint(rw, `{"rejected":["bob-phone","somebody-else"]}`)
	}
	w.say(room, "carol", "five")
	want(t, "rejected with", g.next().Get("content.body").Str, "five")
	for start := time.Now(); len(w.ok("GET", "/pushers", "bob", nil).Get("pushers").Array()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("a rejected pushkey stays")
		}
	}
	w.say(room, "carol", "six")
	g.nothing()
}

// TestPushers makes pushers, shares keys or doesn't, and loses them with a session.
func TestPushers(t *testing.T) {
	w, g := newWorld(t, true), newGateway(t)
	room := w.room("alice", nil, "bob", "carol")
	list := func(name string) string {
		var all []string
		for _, p := range w.ok("GET", "/pushers", name, nil).Get("pushers").Array() {
			all = append(all, p.Get("kind").Str+" "+p.Get("pushkey").Str+" "+p.Get("device_display_name").Str)
		}
		return strings.Join(all, ", ")
	}
	w.ok("POST", "/pushers/set", "bob", g.pusher("key", object{"format": "event_id_only"}))
	event := w.say(room, "alice", "hello")
	n := g.next()
	n.ForEach(func(k, _ gjson.Result) bool {
		if !strings.Contains("event_id room_id counts devices prio", k.Str) {
			t.Errorf("event_id_only tells %s", k.Str)
		}
		return true
	})
	want(t, "event_id_only", n.Get("event_id").Str, event)
	again := g.pusher("key", nil)
	again["device_display_name"] = "New phone"
	w.ok("POST", "/pushers/set", "bob", again)
	want(t, "changed", list("bob"), "http key New phone")
	shared := g.pusher("key", nil)
	shared["append"] = true
	w.ok("POST", "/pushers/set", "carol", shared)
	want(t, "shared", list("bob")+", "+list("carol"), "http key New phone, http key Phone")
	w.ok("POST", "/pushers/set", "carol", g.pusher("key", nil))
	want(t, "not shared", list("bob")+", "+list("carol"), ", http key Phone")
	w.say(room, "alice", "for carol")
	want(t, "only carol is told", brief(g.next()), "for carol unread 2 low key")
	g.nothing()
	w.ok("POST", "/pushers/set", "carol", object{"kind": nil, "app_id": "org.example.app", "pushkey": "key"})
	want(t, "deleted", list("carol"), "")
	w.ok("POST", "/pushers/set", "bob", g.pusher("key", nil))
	w.ok("POST", "/logout", "bob", object{})
	w.say(room, "alice", "nobody hears")
	g.nothing()
	change := func(k string, v any) object {
		p := g.pusher("key", nil)
		if p[k] = v; v == "-" {
			delete(p, k)
		}
		return p
	}
	for _, x := range []struct {
		want string
		body object
	}{
		{"400 M_MISSING_PARAM", change("kind", "-")}, {"400 M_MISSING_PARAM", change("app_id", "-")},
		{"400 M_MISSING_PARAM", change("lang", "-")}, {"400 M_MISSING_PARAM", change("data", "-")},
		{"400 M_MISSING_PARAM", change("data", object{})}, {"400 M_INVALID_PARAM", change("kind", "email")},
		{"400 M_INVALID_PARAM", change("pushkey", strings.Repeat("x", 513))}, {"400 M_INVALID_PARAM", change("app_id", strings.Repeat("x", 65))},
		{"400 M_INVALID_PARAM", change("data", object{"url": g.http.URL + "/elsewhere"})},
		{"400 M_INVALID_PARAM", change("data", object{"url": g.url() + "?x"})},
		{"400 M_INVALID_PARAM", change("data", object{"url": "file:///_matrix/push/v1/notify"})},
		{"400 M_BAD_JSON", change("data", "text")}, {"400 M_INVALID_PARAM", change("data", object{"url": 1})},
	} {
		w.refused(x.want, "POST", "/pushers/set", "carol", x.body)
	}
	for i := range 50 {
		w.ok("POST", "/pushers/set", "carol", g.pusher(fmt.Sprint(i), nil))
	}
	w.refused("400 M_USER_LIMIT_EXCEEDED", "POST", "/pushers/set", "carol", g.pusher("one more", nil))
}

// TestPrivateGateway makes sure that a gateway inside the network isn't asked.
func TestPrivateGateway(t *testing.T) {
	w, g := newWorld(t, false), newGateway(t)
	room := w.room("alice", nil, "bob")
	w.refused("400 M_INVALID_PARAM", "POST", "/pushers/set", "bob", g.pusher("key", nil)) // http
	hidden := g.pusher("key", object{"url": strings.Replace(g.url(), "http:", "https:", 1)})
	w.ok("POST", "/pushers/set", "bob", hidden)
	w.say(room, "alice", "hello")
	g.nothing()
}
