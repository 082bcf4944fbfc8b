package syncapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
)

// stick sends a message that is sticky for a while.
func (w *world) stick(room, sender, body string, d time.Duration) string {
	w.t.Helper()
	ms := d.Milliseconds()
	id, err := w.rooms.Send(context.Background(), roomserver.EventRequest{
		RoomID: room, Sender: id(sender), Type: "m.room.message", Content: json.RawMessage(`{"body":"` + body + `"}`), StickyMS: &ms})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// stuck lists the texts of a list of sticky events.
func stuck(list gjson.Result) string {
	var all []string
	for _, e := range list.Array() {
		if ttl := e.Get("unsigned.msc4354_sticky_duration_ttl_ms").Int(); ttl <= 0 || ttl > e.Get("msc4354_sticky.duration_ms").Int() {
			return "wrong: " + e.Raw
		}
		all = append(all, e.Get("content.body").Str)
	}
	return strings.Join(all, " ")
}

// TestSticky tells of a call: who is in it is announced by sticky events, which reach
// those whose timeline doesn't go back so far, who comes later, and after a restart, as long
// as they last.
func TestSticky(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.history_visibility", StateKey: new(""), Content: map[string]any{"history_visibility": "joined"}})
	w.join(room, "bob")
	bob, dave := w.client("bob"), w.client("dave")
	bob.sync(0)
	dave.sync(0)
	w.stick(room, "alice", "on", time.Hour)
	live := joined(bob.sync(0), room)
	want(t, "in the timeline", bodies(live), "on")
	want(t, "beside it", stuck(live.Get("msc4354_sticky.events")), "")
	want(t, "as sticky", stuck(live.Get("timeline.events")), "on")

	w.stick(room, "alice", "gone", time.Millisecond)
	w.stick(room, "alice", "muted", time.Hour)
	redacted := w.stick(room, "alice", "redacted", time.Hour)
	w.redact(redaction(room, "alice", redacted))
	for n := range 3 {
		w.say(room, "alice", fmt.Sprint(n))
	}
	bob.filter = `{"room":{"timeline":{"limit":1}}}`
	gappy := joined(bob.sync(0), room)
	want(t, "a short timeline", bodies(gappy), "2")
	want(t, "what it lacks", stuck(gappy.Get("msc4354_sticky.events")), "muted")
	want(t, "told once", joined(bob.sync(0), room).Exists(), false)
	bob.filter = `{"room":{"timeline":{"not_senders":["@alice:test.local"]}}}`
	w.stick(room, "alice", "filtered", time.Hour)
	want(t, "whatever the filter", stuck(joined(bob.sync(0), room).Get("msc4354_sticky.events")), "filtered")

	w = w.restart()
	dave.w = w
	w.join(room, "dave")
	comes := joined(dave.sync(0), room)
	want(t, "from before they came", stuck(comes.Get("msc4354_sticky.events")), "on muted filtered")
	w.ok("PUT", "/user/"+id("erin")+"/account_data/m.ignored_user_list", "erin/PHONE", map[string]any{"ignored_users": map[string]any{id("alice"): map[string]any{}}})
	w.join(room, "erin")
	want(t, "of who is ignored", stuck(joined(w.client("erin").sync(0), room).Get("msc4354_sticky.events")), "")
	want(t, "at the first sync", stuck(joined(w.client("bob").sync(0), room).Get("msc4354_sticky.events")), "on")
}

// TestManySticky tells more sticky events than one answer holds, by several.
func TestManySticky(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice")
	w.join(room, "bob")
	const all = maxSticky + 20
	for n := range all {
		w.stick(room, "alice", fmt.Sprint(n), time.Hour)
	}
	for range 5 {
		w.say(room, "alice", "so?")
	}
	c := w.client("bob")
	c.filter = `{"room":{"timeline":{"limit":5}}}`
	first := joined(c.sync(0), room).Get("msc4354_sticky.events")
	rest := joined(c.sync(time.Minute), room).Get("msc4354_sticky.events")
	want(t, "first", len(first.Array()), maxSticky)
	want(t, "then", len(rest.Array()), all-maxSticky)
	want(t, "the last", rest.Get(fmt.Sprint(all-maxSticky-1, ".content.body")).Str, all-1)
	want(t, "nothing more", c.sync(0).Get("rooms").Exists(), false)

	s := w.slider("bob")
	s.lists = `{"none":{"ranges":[],"timeline_limit":1,"required_state":[]}}`
	ask := func(since string) gjson.Result {
		s.extensions = `{"` + stickyExtension + `":{"enabled":true,"limit":70` + since + `}}`
		return s.sync(0).Get("extensions." + gjson.Escape(stickyExtension))
	}
	events := "rooms." + gjson.Escape(room) + ".events"
	answer := ask("")
	want(t, "first, sliding", len(answer.Get(events).Array()), 70)
	since := func() string { return `,"since":"` + answer.Get("next_batch").Str + `"` }
	answer = ask(since())
	want(t, "then, sliding", len(answer.Get(events).Array()), all-70)
	answer = ask(since())
	want(t, "nothing more, sliding", answer.Get(events).Exists(), false)
	s.lists = window(10, 1, `[]`)
	w.stick(room, "alice", "shown", time.Hour)
	answer = ask(since())
	want(t, "in the timeline", answer.Get(events).Exists(), false)
	w.stick(room, "alice", "hidden", time.Hour)
	w.say(room, "alice", "later")
	answer = ask(since())
	want(t, "not in the timeline", stuck(answer.Get(events)), "hidden")
	other := w.newRoom("carol")
	w.stick(other, "carol", "before", time.Hour)
	w.say(other, "carol", "and after")
	w.join(other, "bob")
	answer = ask(since())
	want(t, "in a room they come to", stuck(answer.Get("rooms."+gjson.Escape(other)+".events")), "before")
	status, refused := func() (int, gjson.Result) {
		s.extensions = `{"` + stickyExtension + `":{"enabled":true,"since":"x"}}`
		return s.try(0)
	}()
	want(t, "a wrong since", []any{status, refused.Get("errcode").Str}, "[400 M_INVALID_PARAM]")
}
