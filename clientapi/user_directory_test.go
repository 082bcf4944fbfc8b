package clientapi

import (
	"fmt"
	"net/http"
	"testing"

	"hearth/search"
)

// TestUserDirectory: people find those whom they could meet, by name and id, as soon as
// these are called so.
func TestUserDirectory(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	for _, name := range []string{"zoe", "zoltan"} {
		w.register(name)
	}
	w.ok("PUT", "/profile/@bob:test.local/displayname", bob, object{"displayname": "Bóbby Tables"})
	check := func(term, want string) object {
		t.Helper()
		page := w.ok("POST", "/user_directory/search", alice, object{"search_term": term, "limit": 1})
		var got []any
		for _, p := range page["results"].([]any) {
			got = append(got, p.(object)["user_id"])
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%q finds %v, want %v", term, got, want)
		}
		return page
	}
	const found, none = "[@bob:test.local]", "[]"
	check("bob", none)
	private := w.ok("POST", "/createRoom", alice, object{"preset": "private_chat", "invite": []string{"@bob:test.local"}})["room_id"].(string)
	check("bob", none)
	w.ok("POST", "/join/"+private, bob, object{})
	for _, term := range []string{"bob", "BOBBY", "tab bobby", "@bob", "@bob:test.local", "@bob:test"} {
		check(term, found)
	}
	for _, term := range []string{"obby", "", "@bob:elsewhere", "tables chairs", "alice", "'&|:*\\"} {
		check(term, none)
	}
	w.ok("POST", "/rooms/"+private+"/leave", bob, object{})
	check("bob", none)
	public := w.ok("POST", "/createRoom", bob, object{"preset": "public_chat"})["room_id"].(string)
	check("tables", found)
	w.ok("PUT", "/profile/@bob:test.local/displayname", bob, object{"displayname": "Robert"})
	check("tables", none)
	if p := check("robe", found)["results"].([]any)[0].(object); p["display_name"] != "Robert" {
		t.Errorf("bob is %v", p)
	}
	w.ok("PUT", "/rooms/"+public+"/state/m.room.join_rules", bob, object{"join_rule": "invite"})
	check("robert", none)
	w.api.o.People.Stop()
	w.api.o.People = search.NewPeople(search.PeopleOptions{DB: w.db, ServerName: "test.local", AllLocal: true})
	t.Cleanup(w.api.o.People.Stop)
	if page := check("zo", "[@zoe:test.local]"); page["limited"] != true {
		t.Error("there is nobody beside zoe")
	}
	w.ok("POST", "/account/deactivate", bob, object{"auth": passwordAuth("bob", "")})
	check("robert", none)
	w.refused(http.StatusBadRequest, "M_MISSING_PARAM", "POST", "/user_directory/search", alice, object{})
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "POST", "/user_directory/search", alice, object{"search_term": "x", "limit": -1})
}
