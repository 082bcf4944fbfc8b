package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

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
	var roots []string // of threads
	for i := range n {
		id := alice.ok(t, "PUT", fmt.Sprint(path, "/send/m.room.message/", i), map[string]any{"msgtype": "m.text", "body": fmt.Sprint(i)}).Get("event_id").Str
		if i == 20 {
			first = id
		}
		if i >= 40 && i < 43 {
			alice.ok(t, "PUT", fmt.Sprint(path, "/send/org.example.note/thread", i), map[string]any{"m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": id}})
			roots = append(roots, id)
		}
	}
	bob.ok(t, "POST", clientV3+"/join/"+url.PathEscape("#old:"+name), map[string]any{})
	// With lazy loading the room is there before its members are.
	lazy := "?filter=" + url.QueryEscape(`{"room":{"state":{"lazy_load_members":true}}}`)
	joined := bob.ok(t, "GET", clientV3+"/sync"+lazy, nil).Get("rooms.join." + gjson.Escape(room) + ".timeline")
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
	slices.Reverse(roots)
	threads := "/_matrix/client/v1/rooms/" + url.PathEscape(room) + "/threads?limit=1"
	var found []string
	for from = ""; len(found) < 10; {
		page := bob.ok(t, "GET", threads+from, nil)
		for _, e := range page.Get("chunk").Array() {
			found = append(found, e.Get("event_id").Str)
		}
		if from = "&from=" + page.Get("next_batch").Str; from == "&from=" {
			break
		}
	}
	if !slices.Equal(found, roots) {
		t.Errorf("the old threads are %v, want %v", found, roots)
	}
	// What was fetched can be searched as well, before long.
	search := map[string]any{"search_categories": map[string]any{"room_events": map[string]any{"search_term": "7"}}}
	waitFor(t, "bob finds an old message", func() bool {
		return bob.ok(t, "POST", clientV3+"/search", search).Get("search_categories.room_events.results.0.result.content.body").Str == "7"
	})
}

// TestJumpToDate has bob, who came late by another server, find a message by its time, and read
// on from there across what his server didn't have.
func TestJumpToDate(t *testing.T) {
	one, name := federating(t)
	two, _ := federating(t)
	alice, bob := register(t, one.base, "alice"), register(t, two.base, "bob")
	room := alice.ok(t, "POST", clientV3+"/createRoom", map[string]any{"preset": "public_chat"}).Get("room_id").Str
	path := clientV3 + "/rooms/" + url.PathEscape(room)
	const n, wanted = 260, 20
	var at int64
	id := ""
	for i := range n {
		sent := alice.ok(t, "PUT", fmt.Sprint(path, "/send/m.room.message/", i), map[string]any{"msgtype": "m.text", "body": fmt.Sprint(i)}).Get("event_id").Str
		if i == wanted {
			id = sent
			at = alice.ok(t, "GET", path+"/event/"+url.PathEscape(id), nil).Get("origin_server_ts").Int()
			time.Sleep(5 * time.Millisecond)
		}
	}
	bob.ok(t, "POST", clientV3+"/join/"+url.PathEscape(room)+"?via="+url.QueryEscape(name), map[string]any{})
	near := func(dir string) string {
		return bob.ok(t, "GET", fmt.Sprint("/_matrix/client/v1/rooms/", url.PathEscape(room), "/timestamp_to_event?dir=", dir, "&ts=", at+1), nil).Get("event_id").Str
	}
	if found := near("b"); found != id {
		t.Errorf("before the time is %s, want %s", found, id)
	}
	next := bob.ok(t, "GET", path+"/event/"+url.PathEscape(near("f")), nil).Get("content.body").Str
	if next != fmt.Sprint(wanted+1) {
		t.Errorf("after the time comes %s", next)
	}
	around := bob.ok(t, "GET", path+"/context/"+url.PathEscape(id)+"?limit=0", nil)
	readOn := func(last int) {
		t.Helper()
		from, heard := around.Get("end").Str, wanted
		for range 30 {
			page := bob.ok(t, "GET", path+"/messages?dir=f&limit=50&from="+url.QueryEscape(from), nil)
			for _, e := range page.Get("chunk").Array() {
				if body := e.Get("content.body"); body.Exists() {
					if heard++; body.Str != fmt.Sprint(heard) {
						t.Fatalf("%s comes where %d should", body.Str, heard)
					}
				}
			}
			if from = page.Get("end").Str; from == "" {
				break
			}
		}
		if heard != last {
			t.Errorf("the last message is %d, want %d", heard, last)
		}
	}
	readOn(n - 1)
	bob.ok(t, "POST", path+"/leave", map[string]any{})
	for i := range 30 {
		alice.ok(t, "PUT", fmt.Sprint(path, "/send/m.room.message/", n+i), map[string]any{"msgtype": "m.text", "body": fmt.Sprint(n + i)})
	}
	bob.ok(t, "POST", clientV3+"/join/"+url.PathEscape(room)+"?via="+url.QueryEscape(name), map[string]any{})
	readOn(n + 29)
}
