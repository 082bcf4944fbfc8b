package syncapi

import (
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// counts writes a room's unread counts as "notifications/highlights", followed by
// those of its threads.
func counts(answer gjson.Result, room string) string {
	r := joined(answer, room)
	text := r.Get("unread_notifications.notification_count").Raw + "/" + r.Get("unread_notifications.highlight_count").Raw
	r.Get("unread_thread_notifications").ForEach(func(_, n gjson.Result) bool {
		text += " thread " + n.Get("notification_count").Raw + "/" + n.Get("highlight_count").Raw
		return true
	})
	return text
}

// TestUnreadCounts counts by what people do: messages, mentions, threads, receipts
// of each kind, answers, redactions, and finds the same from memory and, after a
// restart, from the database.
func TestUnreadCounts(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice")
	w.join(room, "bob")
	bob, threaded := w.client("bob"), w.client("bob")
	threaded.filter = `{"room":{"timeline":{"unread_thread_notifications":true}}}`
	bob.sync(0)
	threaded.sync(0)
	reply := func(thread, body string, mentions ...string) string {
		content := map[string]any{"msgtype": "m.text", "body": body, "m.mentions": map[string]any{"user_ids": mentions}}
		if thread != "" {
			content["m.relates_to"] = map[string]any{"rel_type": "m.thread", "event_id": thread}
		}
		return w.event(room, "alice", "m.room.message", nil, content)
	}
	check := func(what, all, apart string) {
		t.Helper()
		want(t, what, counts(bob.sync(0), room), all)
		want(t, what+", by thread", counts(threaded.sync(0), room), apart)
		fresh := w.client("bob")
		want(t, what+", from the start", counts(fresh.sync(0), room), all)
		w = w.restart()
		bob.w, threaded.w, fresh.w = w, w, w
		fresh.since = ""
		want(t, what+", after a restart", counts(fresh.sync(0), room), all)
		fresh.since, fresh.filter = "", threaded.filter
		want(t, what+", after a restart, by thread", counts(fresh.sync(0), room), apart)
	}
	one := reply("", "one")
	two := reply("", "two", id("bob"))
	check("two messages, one a mention", "2/1", "2/1")
	in := reply(one, "in a thread")
	reply(one, "more in the thread", id("bob"))
	check("a thread of two", "4/2", "2/1 thread 2/1")
	w.read(room, "bob", "m.read", two, map[string]any{"thread_id": "main"})
	check("the main timeline is read", "2/1", "0/0 thread 2/1")
	w.read(room, "bob", "m.read.private", in, map[string]any{"thread_id": one})
	check("half of the thread is read, privately", "1/1", "0/0 thread 1/1")
	last := reply("", "three")
	check("one more", "2/1", "1/0 thread 1/1")
	w.read(room, "bob", "m.read", last, nil)
	check("all is read", "0/0", "0/0")
	w.read(room, "bob", "m.read", one, nil)
	four := reply("", "four", id("bob"))
	reply("", "five")
	check("a receipt doesn't move backwards", "2/1", "2/1")
	if _, err := w.rooms.Send(t.Context(), redaction(room, "alice", four)); err != nil {
		t.Fatal(err)
	}
	check("a redacted mention", "1/0", "1/0")
	w.say(room, "bob", "I have read that")
	check("an answer", "0/0", "0/0")
}

// TestIgnoring has somebody ignore somebody else: messages and invitations are
// kept away, state isn't.
func TestIgnoring(t *testing.T) {
	w := newWorld(t)
	room, other := w.newRoom("alice"), w.newRoom("mallory")
	w.join(room, "mallory", "bob")
	alice := w.client("alice")
	alice.sync(0)
	w.ok("PUT", "/user/"+id("alice")+"/account_data/m.ignored_user_list", alice.token,
		map[string]any{"ignored_users": map[string]any{id("mallory"): map[string]any{}}})
	w.say(room, "mallory", "hey")
	w.membership(other, "mallory", "alice", "invite")
	w.membership(room, "mallory", "mallory", "leave")
	w.say(room, "bob", "peace")
	answer := alice.sync(0)
	want(t, "timeline", bodies(joined(answer, room)), "@mallory:leave peace")
	want(t, "unread", counts(answer, room), "1/0")
	want(t, "invitation", answer.Get("rooms.invite").Exists(), false)
	want(t, "account data", answer.Get("account_data.events.0.type").Str, "m.ignored_user_list")
	w.ok("PUT", "/user/"+id("alice")+"/account_data/m.ignored_user_list", alice.token, map[string]any{"ignored_users": map[string]any{}})
	w.join(room, "mallory")
	w.say(room, "mallory", "back")
	want(t, "no longer ignored", bodies(joined(alice.sync(time.Second), room)), "@mallory:join back")
}
