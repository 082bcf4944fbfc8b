package clientapi

import (
	"fmt"
	"net/http"
	"testing"
)

// ids lists the events of a page.
func ids(page object) (list []string) {
	for _, e := range page["chunk"].([]any) {
		list = append(list, e.(object)["event_id"].(string))
	}
	return list
}

// TestRelations: reactions, edits and threads are found from the event that they relate to,
// page by page, by who may see them.
func TestRelations(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob, carol := w.register("alice"), w.register("bob"), w.register("carol")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	w.ok("POST", "/join/"+room, bob, object{})
	serial := 0
	send := func(token, eventType, relType, parent, key string) string {
		serial++
		content := object{"body": fmt.Sprint(serial), "msgtype": "m.text"}
		if parent != "" {
			relation := object{"event_id": parent, "rel_type": relType}
			if key != "" {
				relation["key"] = key
			}
			content["m.relates_to"] = relation
			if relType == "m.replace" {
				content["m.new_content"] = object{"body": "new", "msgtype": "m.text"}
			}
		}
		return w.ok("PUT", fmt.Sprintf("/rooms/%s/send/%s/t%d", room, eventType, serial), token, content)["event_id"].(string)
	}
	const message = "m.room.message"
	root := send(alice, message, "", "", "")
	first := send(alice, message, "m.thread", root, "")
	like := send(bob, "m.reaction", "m.annotation", root, "👍")
	second := send(bob, message, "m.thread", root, "")
	edit := send(bob, message, "m.replace", second, "")
	heart := send(bob, "m.reaction", "m.annotation", root, "❤")

	path := "/_matrix/client/v1/rooms/" + room + "/relations/" + root
	check := func(what, path string, want ...string) object {
		t.Helper()
		page := w.ok("GET", path, alice, nil)
		if got := fmt.Sprint(ids(page)); got != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
		return page
	}
	check("all", path, heart, second, like, first)
	check("all, oldest first", path+"?dir=f", first, like, second, heart)
	check("reactions", path+"/m.annotation", heart, like)
	check("messages of the thread", path+"/m.thread/m.room.message", second, first)
	check("of another type", path+"/m.thread/m.sticker")
	if page := check("over several", path+"?org.matrix.msc3981.recurse=true", heart, edit, second, like, first); page["recursion_depth"] != float64(maxRecursion) {
		t.Errorf("recursion_depth is %v", page["recursion_depth"])
	}
	if page := check("not over several", path+"?recurse=false", heart, second, like, first); page["recursion_depth"] != 1.0 {
		t.Errorf("without recursion recursion_depth is %v", page["recursion_depth"])
	}
	page := check("the first page", path+"?limit=3", heart, second, like)
	page = check("the second", path+"?limit=3&from="+page["next_batch"].(string), first)
	if page["next_batch"] != nil || page["prev_batch"] == nil {
		t.Errorf("the last page is %v", page)
	}
	page = check("forwards", path+"?limit=2&dir=f", first, like)
	check("and on", path+"?limit=2&dir=f&from="+page["next_batch"].(string), second, heart)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", path+"x", alice, nil)
	w.refused(http.StatusForbidden, "M_FORBIDDEN", "GET", path, carol, nil)
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "GET", path+"?dir=up", alice, nil)

	// The same reaction twice is refused; the same request twice is not.
	again := object{"m.relates_to": object{"event_id": root, "rel_type": "m.annotation", "key": "👍"}}
	w.refused(http.StatusBadRequest, "M_DUPLICATE_ANNOTATION", "PUT", "/rooms/"+room+"/send/m.reaction/other", bob, again)
	if id := w.ok("PUT", "/rooms/"+room+"/send/m.reaction/t3", bob, again)["event_id"]; id != like {
		t.Errorf("a repeated request made %v", id)
	}
	w.ok("PUT", "/rooms/"+room+"/redact/"+like+"/r1", bob, object{})
	check("without the redacted one", path+"/m.annotation", heart)
	w.ok("PUT", "/rooms/"+room+"/send/m.reaction/anew", bob, again)

	// Threads.
	other := send(bob, message, "", "", "")
	send(bob, message, "m.thread", other, "")
	threads := "/_matrix/client/v1/rooms/" + room + "/threads"
	check("threads", threads, other, root)
	check("threads of one's own", threads+"?include=participated", root)
	page = check("the newest thread", threads+"?limit=1", other)
	page = check("the next", threads+"?limit=1&from="+page["next_batch"].(string), root)
	latest := page["chunk"].([]any)[0].(object)["unsigned"].(object)["m.relations"].(object)["m.thread"].(object)
	if latest["count"] != 2.0 || latest["latest_event"].(object)["event_id"] != second || latest["current_user_participated"] != true {
		t.Errorf("the thread is %v", latest)
	}
	last := send(alice, message, "m.thread", root, "")
	check("after an answer", threads, root, other)
	w.ok("PUT", "/rooms/"+room+"/redact/"+last+"/r2", alice, object{})
	check("when that is redacted", threads, other, root)
	send(alice, message, "m.thread", root, "")

	// Who has left doesn't hear of what came later.
	w.ok("POST", "/rooms/"+room+"/leave", bob, object{})
	send(alice, message, "m.replace", root, "")
	event := w.ok("GET", "/rooms/"+room+"/event/"+root, bob, nil)
	if event["unsigned"].(object)["m.relations"] != nil {
		t.Errorf("who has left sees %v", event)
	}
	if event = w.ok("GET", "/rooms/"+room+"/event/"+root, alice, nil); event["unsigned"].(object)["m.relations"].(object)["m.replace"] == nil {
		t.Errorf("who is there sees %v", event)
	}
}

// TestThreadsAndIgnoring: no thread begins at what relates to something; of who is ignored nothing is shown, and of a
// thread that they began only that.
func TestThreadsAndIgnoring(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	w.ok("POST", "/join/"+room, bob, object{})
	serial := 0
	send := func(relation object) (path string, content object) {
		serial++
		if content = (object{"body": fmt.Sprint(serial), "msgtype": "m.text", "m.new_content": object{}}); relation != nil {
			content["m.relates_to"] = relation
		}
		return fmt.Sprintf("/rooms/%s/send/m.room.message/t%d", room, serial), content
	}
	say := func(token string, relation object) string {
		path, content := send(relation)
		return w.ok("PUT", path, token, content)["event_id"].(string)
	}
	his, hers := say(bob, nil), say(alice, nil)
	to := func(relType, parent string) object { return object{"rel_type": relType, "event_id": parent} }
	for _, related := range []string{say(alice, to("m.thread", his)), say(bob, to("m.thread", hers)), say(alice, to("m.replace", hers)), say(bob, to("m.reference", hers))} {
		path, content := send(to("m.thread", related))
		w.refused(http.StatusBadRequest, "M_UNKNOWN", "PUT", path, bob, content)
	}
	// What isn't in the room, and who isn't, learns nothing of what relates to what.
	eve := w.register("eve")
	other := w.ok("POST", "/createRoom", eve, object{"preset": "public_chat"})["room_id"].(string)
	unknown, content := send(to("m.thread", "$nothing"))
	refusal := w.refused(http.StatusForbidden, "M_FORBIDDEN", "PUT", unknown, eve, content)
	secret := say(alice, to("m.reference", hers))
	_, content = send(to("m.thread", secret))
	w.ok("PUT", "/rooms/"+other+"/send/m.room.message/1", eve, content)
	if again := w.refused(http.StatusForbidden, "M_FORBIDDEN", "PUT", unknown, eve, content); fmt.Sprint(again) != fmt.Sprint(refusal) {
		t.Errorf("eve is told %v, and of nothing %v", again, refusal)
	}
	w.ignore("@alice:test.local", `{"@bob:test.local":{}}`)
	shown := 0
	for _, path := range []string{"/_matrix/client/v1/rooms/" + room + "/threads", "/_matrix/client/v1/rooms/" + room + "/relations/" + hers,
		"/rooms/" + room + "/messages?dir=b&limit=100"} {
		for _, e := range w.ok("GET", path, alice, nil)["chunk"].([]any) {
			e := e.(object)
			if shown++; e["sender"] == "@bob:test.local" && e["state_key"] == nil && (e["event_id"] != his || len(e["content"].(object)) > 0) {
				t.Errorf("%s: bob is ignored, and says %v", path, e)
			}
		}
	}
	if shown < 8 {
		t.Errorf("%d events are shown", shown)
	}
}
