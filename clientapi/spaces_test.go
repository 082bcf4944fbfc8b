package clientapi

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
)

// names lists the rooms of a hierarchy's page.
func names(page object) (list []string) {
	for _, r := range page["rooms"].([]any) {
		name, _ := r.(object)["name"].(string)
		list = append(list, name)
	}
	return list
}

// town is a space with spaces and rooms of all kinds below it.
type town struct {
	*world
	alice, bob string
	rooms      map[string]string
}

func newTown(t *testing.T) *town {
	w := &town{world: newWorld(t, nil), rooms: map[string]string{}}
	w.alice, w.bob = w.register("alice"), w.register("bob")
	w.make("town", "public_chat", "m.space")
	w.make("market", "public_chat", "m.space")
	w.make("square", "public_chat", "")
	w.make("cellar", "private_chat", "")
	w.make("guild", "private_chat", "")
	w.make("stall", "public_chat", "")
	w.rule("guild", object{"join_rule": "restricted", "allow": []object{{"type": "m.room_membership", "room_id": w.rooms["stall"]}}})
	w.child("town", "square", object{"order": "b"})
	w.child("town", "guild", object{})
	w.child("town", "cellar", object{"order": "a"})
	w.child("town", "market", object{"order": "c", "suggested": true})
	w.child("market", "stall", object{"suggested": true})
	w.child("market", "town", object{"suggested": true})
	w.ok("PUT", "/rooms/"+w.rooms["town"]+"/state/m.space.child/!gone", w.alice, object{})
	return w
}

func (w *town) make(name, preset, kind string) {
	w.t.Helper()
	body := object{"name": name, "preset": preset, "room_version": "11"}
	if kind != "" {
		body["creation_content"] = object{"type": kind}
	}
	w.rooms[name] = w.ok("POST", "/createRoom", w.alice, body)["room_id"].(string)
}

func (w *town) rule(room string, content object) {
	w.t.Helper()
	w.ok("PUT", "/rooms/"+w.rooms[room]+"/state/m.room.join_rules", w.alice, content)
}

func (w *town) child(space, room string, content object) {
	w.t.Helper()
	content["via"] = []string{"test.local"}
	w.ok("PUT", "/rooms/"+w.rooms[space]+"/state/m.space.child/"+url.PathEscape(w.rooms[room]), w.alice, content)
}

func (w *town) path(query string) string {
	return "/_matrix/client/v1/rooms/" + w.rooms["town"] + "/hierarchy?" + query
}

// TestHierarchy walks a space with a circle in it, as somebody who isn't in it, and who
// may enter more and more of its rooms.
func TestHierarchy(t *testing.T) {
	w := newTown(t)
	check := func(query string, want ...string) object {
		t.Helper()
		page := w.ok("GET", w.path(query), w.bob, nil)
		if got := names(page); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q shows %v, want %v", query, got, want)
		}
		return page
	}
	first := check("limit=2", "town", "square")
	children := first["rooms"].([]any)[0].(object)["children_state"].([]any)
	if len(children) != 4 || children[0].(object)["state_key"] != w.rooms["cellar"] || children[0].(object)["origin_server_ts"] == nil {
		t.Errorf("the town's children are %v", children)
	}
	for range 2 { // a page may be asked for again
		if last := check("limit=2&from="+first["next_batch"].(string), "market", "stall"); last["next_batch"] != nil {
			t.Error("there is a page after the last")
		}
	}
	check("max_depth=0", "town")
	check("max_depth=1", "town", "square", "market")
	check("suggested_only=true", "town", "market", "stall")
	w.ok("POST", "/join/"+w.rooms["stall"], w.bob, object{})
	check("", "town", "square", "market", "stall", "guild")
	w.ok("POST", "/rooms/"+w.rooms["cellar"]+"/invite", w.alice, object{"user_id": "@bob:test.local"})
	check("", "town", "cellar", "square", "market", "stall", "guild")

	token := first["next_batch"].(string)
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", w.path("max_depth=1&from="+token), w.bob, nil)
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", w.path("from="+token), w.alice, nil)
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", w.path("from=x"), w.bob, nil)
	for _, query := range []string{"limit=0", "limit=x", "max_depth=-1", "suggested_only=perhaps"} {
		w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", w.path(query), w.bob, nil)
	}
	w.refused(http.StatusForbidden, "M_FORBIDDEN", "GET", "/_matrix/client/v1/rooms/!nowhere/hierarchy", w.bob, nil)
	w.rule("town", object{"join_rule": "invite"})
	w.refused(http.StatusForbidden, "M_FORBIDDEN", "GET", w.path(""), w.bob, nil)
}

// TestRoomSummary looks at rooms from outside and inside, with and without an account.
func TestRoomSummary(t *testing.T) {
	w := newTown(t)
	const path = "/_matrix/client/v1/room_summary/"
	public := w.ok("GET", path+w.rooms["square"], "", nil)
	if public["name"] != "square" || public["room_version"] != "11" || public["join_rule"] != "public" || public["membership"] != nil {
		t.Errorf("without an account the square is %v", public)
	}
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", path+w.rooms["guild"], "", nil)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", path+w.rooms["guild"], w.bob, nil)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", path+"!nowhere", w.bob, nil)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", path+url.PathEscape("#nowhere:test.local"), w.bob, nil)
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", path+"nonsense", w.bob, nil)
	if m := w.ok("GET", path+w.rooms["square"], w.bob, nil)["membership"]; m != "leave" {
		t.Errorf("who was never in the square is told %v", m)
	}
	w.ok("POST", "/join/"+w.rooms["stall"], w.bob, object{})
	guild := w.ok("GET", "/_matrix/client/unstable/im.nheko.summary/rooms/"+w.rooms["guild"]+"/summary", w.bob, nil)
	if fmt.Sprint(guild["allowed_room_ids"]) != fmt.Sprint([]string{w.rooms["stall"]}) {
		t.Errorf("the guild is %v", guild)
	}
}

// TestTimestampToEvent finds messages by their time.
func TestTimestampToEvent(t *testing.T) {
	w := newTown(t)
	room := w.rooms["cellar"]
	var sent []string
	var at []int64
	for i := range 3 {
		id := w.ok("PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/t%d", room, i), w.alice, object{"msgtype": "m.text", "body": "x"})["event_id"].(string)
		sent, at = append(sent, id), append(at, int64(w.ok("GET", "/rooms/"+room+"/event/"+id, w.alice, nil)["origin_server_ts"].(float64)))
	}
	path := func(dir string, ts int64) string {
		return fmt.Sprintf("/_matrix/client/v1/rooms/%s/timestamp_to_event?dir=%s&ts=%d", room, dir, ts)
	}
	if found := w.ok("GET", path("b", at[2]+1000), w.alice, nil); found["event_id"] != sent[2] {
		t.Errorf("before the end is %v, want %s", found, sent[2])
	}
	if found := w.ok("GET", path("f", at[0]), w.alice, nil); int64(found["origin_server_ts"].(float64)) != at[0] {
		t.Errorf("from the first message's time on comes %v", found)
	}
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", path("f", at[2]+1000), w.alice, nil)
	w.refused(http.StatusForbidden, "M_FORBIDDEN", "GET", path("b", at[2]), w.bob, nil)
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", path("x", 1), w.alice, nil)
	w.refused(http.StatusBadRequest, "M_MISSING_PARAM", "GET", "/_matrix/client/v1/rooms/"+room+"/timestamp_to_event?dir=b", w.alice, nil)
}
