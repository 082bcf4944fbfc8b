package clientapi

import (
	"net/url"
	"strings"
	"testing"
)

// TestEntering: a member event has what its user wants to say there, but nothing that
// others rely on, and a room that was forgotten says nothing any more.
func TestEntering(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat", "room_version": "12"})["room_id"].(string)
	path := "/rooms/" + url.PathEscape(room)
	member := func() object {
		return w.ok("GET", path+"/state/m.room.member/@bob:test.local", bob, nil)
	}
	w.ok("POST", path+"/join", bob, object{"reason": "why not", "org.example.mood": "good", "membership": "ban", "displayname": "Alice",
		"join_authorised_via_users_server": "@alice:test.local", "third_party_signed": object{}})
	if got := member(); len(got) != 3 || got["membership"] != "join" || got["reason"] != "why not" || got["org.example.mood"] != "good" {
		t.Errorf("joined with %v", got)
	}
	w.refused(400, "M_BAD_JSON", "POST", path+"/join", bob, object{"reason": 1})

	// What can't be in such a room is a mistake of the request, not a lack of power.
	w.refused(400, "M_BAD_JSON", "PUT", path+"/state/m.room.power_levels", alice, object{"users": object{"@alice:test.local": 100}})
	w.refused(400, "M_INVALID_PARAM", "PUT", path+"/state/m.room.create", alice, object{"room_version": "12", "more": true})

	w.refused(413, "M_TOO_LARGE", "PUT", path+"/state/org.example.big", alice, object{"text": strings.Repeat("x", 70<<10)})

	w.refused(400, "M_MISSING_PARAM", "GET", path+"/messages", bob, nil)
	w.ok("POST", path+"/leave", bob, object{})
	w.ok("POST", path+"/forget", bob, object{})
	w.refused(403, "M_FORBIDDEN", "GET", path+"/messages", bob, nil)
}
