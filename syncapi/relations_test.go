package syncapi

import (
	"testing"

	"github.com/tidwall/gjson"
)

// bundled is what a sync shows with an event.
func bundled(answer gjson.Result, room, eventID string) gjson.Result {
	for _, e := range joined(answer, room).Get("timeline.events").Array() {
		if e.Get("event_id").Str == eventID {
			return e.Get(`unsigned.m\.relations`)
		}
	}
	return gjson.Result{}
}

func relates(relType, eventID, body string, more map[string]any) map[string]any {
	content := map[string]any{"msgtype": "m.text", "body": body, "m.relates_to": map[string]any{"rel_type": relType, "event_id": eventID}}
	if relType == "m.replace" {
		content["m.new_content"] = map[string]any{"msgtype": "m.text", "body": body}
	}
	for k, v := range more {
		content[k] = v
	}
	return content
}

// TestBundledAggregations: what relates to an event is shown with it, from memory and, after a
// restart, from the database.
func TestBundledAggregations(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice")
	w.join(room, "bob", "carol")
	alice := w.client("alice")
	alice.sync(0)
	root := w.event(room, "bob", "m.room.message", nil, map[string]any{"msgtype": "m.text", "body": "first"})
	plain := w.event(room, "bob", "m.room.message", nil, map[string]any{"msgtype": "m.text", "body": "plain"})
	if got := bundled(alice.sync(0), room, root); got.Exists() {
		t.Errorf("before anything relates: %s", got.Raw)
	}
	w.event(room, "bob", "m.room.message", nil, relates("m.replace", root, "* second", nil))
	edit := w.event(room, "bob", "m.room.message", nil, relates("m.replace", root, "* third", nil))
	w.event(room, "carol", "m.room.message", nil, relates("m.replace", root, "* forged", nil))
	w.event(room, "carol", "m.room.message", nil, relates("m.thread", root, "one", nil))
	answer := w.event(room, "bob", "m.room.message", nil, relates("m.thread", root, "two", nil))
	corrected := w.event(room, "bob", "m.room.message", nil, relates("m.replace", answer, "* 2", nil))
	reference := w.event(room, "carol", "m.room.message", nil, relates("m.reference", root, "see", nil))
	toAnswer := w.event(room, "carol", "m.room.message", nil, relates("m.reference", answer, "see", nil))
	// An edit that says nothing instead is none, and what is said in another room is nothing to this one.
	w.event(room, "bob", "m.room.message", nil, map[string]any{"body": "* empty", "m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": root}})
	elsewhere := w.newRoom("carol")
	for _, relType := range []string{"m.thread", "m.reference"} {
		w.event(elsewhere, "carol", "m.room.message", nil, relates(relType, root, "elsewhere", nil))
	}

	fresh := func() gjson.Result {
		c := w.client("alice")
		c.filter = `{"room":{"timeline":{"limit":50}}}`
		return c.sync(0)
	}
	check := func(what string) {
		t.Helper()
		all := fresh()
		got := bundled(all, room, root)
		for path, want := range map[string]string{
			`m\.replace.event_id`: edit, `m\.replace.content.body`: "* third", `m\.thread.count`: "2", `m\.thread.latest_event.event_id`: answer,
			`m\.thread.current_user_participated`:                              "false",
			`m\.thread.latest_event.unsigned.m\.relations.m\.replace.event_id`: corrected, `m\.reference.chunk.0.event_id`: reference, `m\.reference.chunk.#`: "1",
			`m\.thread.latest_event.unsigned.m\.relations.m\.reference.chunk.0.event_id`: toAnswer,
		} {
			if v := got.Get(path).String(); v != want {
				t.Errorf("%s: %s is %q, want %q", what, path, v, want)
			}
		}
		if got := bundled(all, room, plain); got.Exists() {
			t.Errorf("%s: with the plain event there is %s", what, got.Raw)
		}
	}
	check("from memory")
	w = w.restart()
	check("from the database")

	w.redact(redaction(room, "bob", edit))
	w.redact(redaction(room, "carol", reference))
	w.event(room, "alice", "m.room.message", nil, relates("m.thread", root, "three", nil))
	got := bundled(fresh(), room, root)
	if got.Get(`m\.replace.content.body`).Str != "* second" || got.Get(`m\.thread.count`).Int() != 3 ||
		!got.Get(`m\.thread.current_user_participated`).Bool() || got.Get(`m\.reference`).Exists() {
		t.Errorf("after redactions: %s", got.Raw)
	}
	w.ok("PUT", "/user/"+id("alice")+"/account_data/m.ignored_user_list", "alice/PHONE", map[string]any{"ignored_users": map[string]any{id("carol"): map[string]any{}}})
	if got := bundled(fresh(), room, root); got.Get(`m\.thread.count`).Int() != 2 {
		t.Errorf("without carol: %s", got.Raw)
	}
}
