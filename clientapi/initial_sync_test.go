package clientapi

import (
	"fmt"
	"net/http"
	"testing"

	"hearth/storage"
)

// TestInitialSync tells rooms as they were told before there was /sync: to members, to
// who was one, and to who looks in.
func TestInitialSync(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob, carol := w.register("alice"), w.register("bob"), w.register("carol")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat", "name": "Hall"})["room_id"].(string)
	say := func(body string) string {
		return w.ok("PUT", "/rooms/"+room+"/send/m.room.message/"+body, alice, object{"msgtype": "m.text", "body": body})["event_id"].(string)
	}
	w.ok("POST", "/join/"+room, bob, object{})
	said := say("before")
	w.ok("POST", "/rooms/"+room+"/leave", bob, object{})
	after := say("after")
	w.ok("POST", "/rooms/"+room+"/invite", alice, object{"user_id": "@carol:test.local"})

	last := func(told object) (bodies []string) {
		for _, e := range told["messages"].(object)["chunk"].([]any) {
			if body, ok := e.(object)["content"].(object)["body"].(string); ok {
				bodies = append(bodies, body)
			}
		}
		return bodies
	}
	mine := w.ok("GET", "/rooms/"+room+"/initialSync?limit=3", alice, nil)
	if fmt.Sprintf("%v %v %v", last(mine), mine["membership"], mine["visibility"]) != "[after] join private" || len(mine["state"].([]any)) < 5 {
		t.Errorf("alice is told %v", mine)
	}
	if left := w.ok("GET", "/rooms/"+room+"/initialSync", bob, nil); fmt.Sprintf("%v %v", last(left), left["membership"]) != "[before] leave" {
		t.Errorf("bob, who has left, is told %v", left)
	}
	w.refused(http.StatusForbidden, "M_FORBIDDEN", "GET", "/rooms/"+room+"/initialSync", carol, nil)
	rooms := func(token, query string) (list []string) {
		t.Helper()
		for _, r := range w.ok("GET", "/initialSync"+query, token, nil)["rooms"].([]any) {
			list = append(list, fmt.Sprint(r.(object)["membership"]))
		}
		return list
	}
	if got := fmt.Sprint(rooms(alice, ""), rooms(bob, ""), rooms(bob, "?archived=true"), rooms(carol, "")); got != "[join] [] [leave] [invite]" {
		t.Errorf("the rooms are %v", got)
	}
	if err := w.db.Stream.Append(background(t), &storage.Change{AccountData: []storage.AccountData{
		{UserID: "@carol:test.local", Type: "m.invite_permission_config", Content: []byte(`{"default_action":"block"}`)}}}); err != nil {
		t.Fatal(err)
	}
	if got := rooms(carol, ""); len(got) > 0 {
		t.Errorf("with invitations that aren't taken: %v", got)
	}
	if e := w.ok("GET", "/events/"+said, bob, nil); e["room_id"] != room {
		t.Errorf("the event is %v", e)
	}
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", "/events/"+after, bob, nil)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", "/events/$nothing", bob, nil)
}
