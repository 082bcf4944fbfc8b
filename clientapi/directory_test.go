package clientapi

import (
	"fmt"
	"net/http"
	"testing"
)

// TestPublicRooms narrows and pages the directory.
func TestPublicRooms(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	for _, name := range []string{"Harbour", "Market", "Station"} {
		body := object{"preset": "public_chat", "visibility": "public", "name": name}
		if name == "Station" {
			body["creation_content"] = object{"type": "m.space"}
		}
		room := w.ok("POST", "/createRoom", alice, body)["room_id"].(string)
		if name == "Market" {
			w.ok("POST", "/join/"+room, bob, object{})
		}
	}
	check := func(body object, want ...string) object {
		t.Helper()
		page := w.ok("POST", "/publicRooms", alice, body)
		var got []string
		for _, r := range page["chunk"].([]any) {
			got = append(got, r.(object)["name"].(string))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v lists %v, want %v", body, got, want)
		}
		return page
	}
	first := check(object{"limit": 2}, "Market", "Harbour")
	if first["total_room_count_estimate"] != 3.0 {
		t.Errorf("there are %v rooms", first["total_room_count_estimate"])
	}
	last := check(object{"limit": 2, "since": first["next_batch"]}, "Station")
	check(object{"limit": 2, "since": last["prev_batch"]}, "Market", "Harbour")
	if last["next_batch"] != nil {
		t.Error("there is a page after the last")
	}
	check(object{"filter": object{"generic_search_term": "arb"}}, "Harbour")
	check(object{"filter": object{"room_types": []any{nil}}}, "Market", "Harbour")
	check(object{"filter": object{"room_types": []any{"m.space", nil}}}, "Market", "Harbour", "Station")
	check(object{"filter": object{"room_types": []any{"m.space"}}}, "Station")
	check(object{"include_all_networks": true}, "Market", "Harbour", "Station")
	check(object{"third_party_instance_id": "irc"})
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "POST", "/publicRooms", alice, object{"third_party_instance_id": "irc", "include_all_networks": true})
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "POST", "/publicRooms", alice, object{"limit": -1})
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", "/publicRooms?server=elsewhere.test", "", nil)
}
