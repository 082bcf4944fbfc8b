package e2e

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/tidwall/gjson"
)

// TestBackfill has bob join a room by another server late: he scrolls back to its
// beginning, and finds a message from before by its id.
func TestBackfill(t *testing.T) {
	one, name := federating(t)
	two, _ := federating(t)
	alice, bob := register(t, one.base, "alice"), register(t, two.base, "bob")
	room := alice.ok(t, "POST", clientV3+"/createRoom", map[string]any{"preset": "public_chat", "room_alias_name": "old"}).Get("room_id").Str
	path := clientV3 + "/rooms/" + url.PathEscape(room)
	const n = 130
	first := ""
	for i := range n {
		id := alice.ok(t, "PUT", fmt.Sprint(path, "/send/m.room.message/", i), map[string]any{"msgtype": "m.text", "body": fmt.Sprint(i)}).Get("event_id").Str
		if i == 20 {
			first = id
		}
	}
	bob.ok(t, "POST", clientV3+"/join/"+url.PathEscape("#old:"+name), map[string]any{})
	joined := bob.ok(t, "GET", clientV3+"/sync", nil).Get("rooms.join." + gjson.Escape(room) + ".timeline")
	if !joined.Get("limited").Bool() {
		t.Errorf("the timeline isn't limited: %s", joined.Raw)
	}
	if body := bob.ok(t, "GET", path+"/event/"+url.PathEscape(first), nil).Get("content.body").Str; body != "20" {
		t.Errorf("the message says %q", body)
	}
	around := bob.ok(t, "GET", path+"/context/"+url.PathEscape(first)+"?limit=4", nil)
	if before := around.Get("events_before.0.content.body").Str; before != "19" {
		t.Errorf("before the message comes %s", around.Raw)
	}
	next, from, created := n-1, joined.Get("prev_batch").Str, false
	for range 30 {
		page := bob.ok(t, "GET", path+"/messages?dir=b&limit=20&from="+url.QueryEscape(from), nil)
		for _, e := range page.Get("chunk").Array() {
			created = e.Get("type").Str == "m.room.create"
			if body := e.Get("content.body"); body.Exists() {
				if body.Str != fmt.Sprint(next) {
					t.Fatalf("%s comes where %d should", body.Str, next)
				}
				next--
			}
		}
		if from = page.Get("end").Str; from == "" {
			break
		}
	}
	if next != -1 || !created || from != "" {
		t.Errorf("the history ends at %d, %v, %q", next, created, from)
	}
}
