package syncapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
)

// TestEvents: who is in rooms, and who looks into one, is told what happens there.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	open := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.history_visibility", StateKey: new(""), Content: map[string]any{"history_visibility": "world_readable"}})
	closed := w.newRoom("alice")
	events := func(user, query string) gjson.Result {
		t.Helper()
		return w.ok("GET", "/events?"+query, user+"/PHONE", nil)
	}
	told := func(r gjson.Result) string {
		var list []string
		for _, e := range r.Get("chunk").Array() {
			list = append(list, e.Get("content.body").Str+e.Get("content.membership").Str)
		}
		return strings.Join(list, " ")
	}
	alice, bob := events("alice", ""), events("bob", "room_id="+open)
	want(t, "news before anything happened", told(alice)+told(bob), "")
	w.say(closed, "alice", "inside")
	w.say(open, "alice", "outside")
	want(t, "alice's rooms", told(events("alice", "from="+alice.Get("end").Str)), "inside outside")
	want(t, "the open room", told(events("bob", "room_id="+open+"&from="+bob.Get("end").Str)), "outside")
	want(t, "bob's rooms", told(events("bob", "from="+bob.Get("end").Str)), "")

	for user, query := range map[string]string{"alice": "", "bob": "&room_id=" + open} {
		from := events(user, "").Get("end").Str
		answered := make(chan string, 1)
		go func() { answered <- told(events(user, "timeout=60000&from="+from+query)) }()
		time.Sleep(20 * time.Millisecond) // most likely it waits by now
		w.say(open, "alice", "now")
		want(t, user+" is told", <-answered, "now")
	}
	from := events("bob", "").Get("end").Str
	w.join(closed, "bob")
	want(t, "bob comes in", told(events("bob", "from="+from)), "join")

	if status, _ := w.do("GET", "/events?room_id="+closed, "carol/PHONE", nil); status != http.StatusForbidden {
		t.Errorf("the closed room is looked into: %d", status)
	}
	if status, _ := w.do("GET", "/events?from=x", "bob/PHONE", nil); status != http.StatusBadRequest {
		t.Errorf("a wrong token: %d", status)
	}
}
