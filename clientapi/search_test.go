package clientapi

import (
	"fmt"
	"net/http"
	"testing"
)

// searched are the bodies of a page of results.
func searched(page object) (list []string) {
	for _, r := range page["results"].([]any) {
		list = append(list, fmt.Sprint(r.(object)["result"].(object)["content"].(object)["body"]))
	}
	return list
}

// TestSearch searches rooms, one of which has replaced another, in pages and groups.
func TestSearch(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	create := func(body object) string {
		return w.ok("POST", "/createRoom", alice, body)["room_id"].(string)
	}
	old := create(object{"preset": "public_chat"})
	room := create(object{"preset": "public_chat", "creation_content": object{"predecessor": object{"room_id": old}}})
	serial := 0
	say := func(room, token, body string) string {
		serial++
		return w.ok("PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/t%d", room, serial), token, object{"msgtype": "m.text", "body": body})["event_id"].(string)
	}
	w.ok("POST", "/join/"+room, bob, object{})
	say(old, alice, "lantern 1")
	say(room, alice, "lantern 2")
	say(room, bob, "lantern lantern")
	gone := say(room, bob, "lantern 4")
	say(room, bob, "nothing to see")
	w.ok("PUT", "/rooms/"+room+"/redact/"+gone+"/x", bob, object{})

	search := func(token, query string, criteria object) object {
		t.Helper()
		body := object{"search_categories": object{"room_events": criteria}}
		return w.ok("POST", "/search"+query, token, body)["search_categories"].(object)["room_events"].(object)
	}
	check := func(what string, page object, count int, want ...string) {
		t.Helper()
		if got := searched(page); fmt.Sprint(got) != fmt.Sprint(want) || page["count"] != float64(count) {
			t.Errorf("%s: %v of %v, want %v of %d", what, got, page["count"], want, count)
		}
	}
	recent := object{"search_term": "Lanterns", "order_by": "recent"}
	check("newest first", search(alice, "", recent), 3, "lantern lantern", "lantern 2", "lantern 1")
	check("best first", search(alice, "", object{"search_term": "lantern"}), 3, "lantern lantern", "lantern 2", "lantern 1")
	check("where bob is", search(bob, "", recent), 2, "lantern lantern", "lantern 2")
	check("one room", search(alice, "", object{"search_term": "lantern", "order_by": "recent", "filter": object{"rooms": []string{old}}}), 1, "lantern 1")
	check("a room with what it has replaced", search(alice, "", object{"search_term": "lantern", "order_by": "recent", "filter": object{"rooms": []string{room}}}), 3,
		"lantern lantern", "lantern 2", "lantern 1")
	check("by bob", search(alice, "", object{"search_term": "lantern", "filter": object{"senders": []string{"@bob:test.local"}}}), 1, "lantern lantern")
	w.ignore("@alice:test.local", `{"@bob:test.local":{}}`)
	check("without bob, who is ignored", search(alice, "", recent), 2, "lantern 2", "lantern 1")
	w.ignore("@alice:test.local", "{}")
	check("in names", search(alice, "", object{"search_term": "lantern", "keys": []string{"content.name"}}), 0)

	paged := object{"search_term": "lantern", "order_by": "recent", "filter": object{"limit": 2}, "groupings": object{"group_by": []object{{"key": "room_id"}, {"key": "sender"}}}}
	page := search(alice, "", paged)
	check("a page", page, 3, "lantern lantern", "lantern 2")
	group := page["groups"].(object)["sender"].(object)["@alice:test.local"].(object)
	check("the next page", search(alice, "?next_batch="+page["next_batch"].(string), paged), 3, "lantern 1")
	last := search(alice, "?next_batch="+group["next_batch"].(string), paged)
	if check("more of a group", last, 2, "lantern 1"); last["next_batch"] != nil {
		t.Error("there is a page after the last of a group")
	}
	paged["filter"] = object{"limit": 3}
	page = search(alice, "", paged)
	check("a full page", page, 3, "lantern lantern", "lantern 2", "lantern 1")
	if page = search(alice, "?next_batch="+page["next_batch"].(string), paged); page["next_batch"] != nil {
		t.Error("there is a page after an empty one")
	}
	check("the page after all", page, 3)
	around := search(alice, "", object{"search_term": "lantern 2", "include_state": true, "event_context": object{"before_limit": 0, "after_limit": 1, "include_profile": true}})
	context := around["results"].([]any)[0].(object)["context"].(object)
	if after := context["events_after"].([]any); len(after) != 1 || len(context["events_before"].([]any)) != 0 || context["profile_info"].(object)["@bob:test.local"] == nil {
		t.Errorf("the context is %v", context)
	}
	if around["state"].(object)[room] == nil || fmt.Sprint(around["highlights"]) != "[2 lantern]" {
		t.Errorf("state %v, highlights %v", around["state"], around["highlights"])
	}
	w.ok("POST", "/rooms/"+room+"/leave", bob, object{})
	say(room, alice, "lantern of the time after")
	check("after leaving", search(bob, "", recent), 2, "lantern lantern", "lantern 2")
	w.ok("POST", "/rooms/"+room+"/forget", bob, object{})
	check("after forgetting", search(bob, "", recent), 0)

	for code, criteria := range map[string]object{
		"M_MISSING_PARAM": {}, "M_INVALID_PARAM": {"search_term": "x", "keys": []string{"content.x"}}, "M_BAD_JSON": {"search_term": 3},
	} {
		w.refused(http.StatusBadRequest, code, "POST", "/search", alice, object{"search_categories": object{"room_events": criteria}})
	}
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "POST", "/search?next_batch=x", alice, object{"search_categories": object{"room_events": recent}})
}

// TestMutualRooms lists the rooms that two are in.
func TestMutualRooms(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	var rooms []string
	for range 2 {
		rooms = append(rooms, w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string))
	}
	const path = "/_matrix/client/v1/mutual_rooms?user_id="
	none := w.ok("GET", path+"@bob:test.local", alice, nil)
	if fmt.Sprint(none["joined"], none["count"]) != "[] 0" {
		t.Errorf("with bob, alice shares %v", none)
	}
	w.ok("POST", "/join/"+rooms[1], bob, object{})
	if one := w.ok("GET", path+"@bob:test.local", alice, nil); fmt.Sprint(one["joined"]) != fmt.Sprint(rooms[1:]) || one["count"] != 1.0 {
		t.Errorf("with bob, alice shares %v", one)
	}
	if one := w.ok("GET", "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id=@alice:test.local", bob, nil); one["count"] != 1.0 {
		t.Errorf("with alice, bob shares %v", one)
	}
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", path+"@alice:test.local", alice, nil)
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", path+"bob", alice, nil)
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", path+"@bob:test.local&from=x", alice, nil)
	w.refused(http.StatusBadRequest, "M_MISSING_PARAM", "GET", path, alice, nil)
}

// TestSearchStateBound: the state that comes with results has what is needed to show them, of however large a room.
func TestSearchStateBound(t *testing.T) {
	defer func(n int) { maxSearchState = n }(maxSearchState)
	w := newWorld(t, nil)
	alice, bob, carol := w.register("alice"), w.register("bob"), w.register("carol")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	w.ok("POST", "/join/"+room, bob, nil)
	w.ok("POST", "/join/"+room, carol, nil)
	w.ok("PUT", "/rooms/"+room+"/send/m.room.message/1", bob, object{"msgtype": "m.text", "body": "lantern"})
	members := func() (list []any) {
		body := object{"search_categories": object{"room_events": object{"search_term": "lantern", "include_state": true}}}
		state := w.ok("POST", "/search", alice, body)["search_categories"].(object)["room_events"].(object)["state"].(object)[room].([]any)
		for _, e := range state {
			if e.(object)["type"] == "m.room.member" {
				list = append(list, e.(object)["state_key"])
			}
		}
		return list
	}
	if got := members(); len(got) != 3 {
		t.Errorf("members of a small room: %v", got)
	}
	maxSearchState = 6 // the state has seven events
	if got := members(); len(got) != 2 {
		t.Errorf("members of a large room: %v", got)
	}
}
