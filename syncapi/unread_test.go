package syncapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
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
	w.rename(room, "bob", "Robert")
	check("another name, which doesn't say that anything is read", "1/0", "1/0")
	w.say(room, "bob", "I have read that")
	check("an answer", "0/0", "0/0")
	reply("", "six")
	w.membership(room, "bob", "bob", "leave")
	reply("", "seven")
	w.join(room, "bob")
	check("joined again", "0/0", "0/0")
	reply("", "eight")
	w.rename(room, "bob", "Bob")
	check("one since then, and another name", "1/0", "1/0")
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

// TestThreadOfWhatRelates: what relates to an answer is in its thread, whether it counts or its sender has
// read with it; a receipt is for the thread that the event is in.
func TestThreadOfWhatRelates(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice")
	w.join(room, "bob")
	bob := w.client("bob")
	bob.filter = `{"room":{"timeline":{"unread_thread_notifications":true}}}`
	bob.sync(0)
	check := func(what, want string) {
		t.Helper()
		if got := counts(bob.sync(0), room); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		found, err := w.db.CountUnread(t.Context(), []int64{w.api.hub.byID[room].nid}, id("bob"), nil, w.db.Stream.Position())
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, of := range found {
			main := of[""]
			text = fmt.Sprintf("%d/%d", main.Notifications, main.Highlights)
			for thread, n := range of {
				if thread != "" {
					text += fmt.Sprintf(" thread %d/%d", n.Notifications, n.Highlights)
				}
			}
		}
		if text != want && want != "0/0" {
			t.Errorf("%s: the database counts %s, want %s", what, text, want)
		}
	}
	root := w.say(room, "alice", "root")
	answer := w.event(room, "alice", "m.room.message", nil, relates("m.thread", root, "answer", nil))
	mention := map[string]any{"m.mentions": map[string]any{"user_ids": []string{id("bob")}}}
	edit := w.event(room, "alice", "m.room.message", nil, relates("m.replace", answer, "* bob", mention))
	check("an edit with a mention", "1/0 thread 2/1")
	w.event(room, "bob", "m.reaction", nil, map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": edit, "key": "+"}})
	check("a reaction to that", "1/0")
	again := w.event(room, "alice", "m.room.message", nil, relates("m.thread", root, "again", nil))
	w.event(room, "bob", "m.reaction", nil, map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": root, "key": "+"}})
	check("a reaction to the root", "0/0 thread 1/0")
	for event, thread := range map[string]string{again: "main", root: again, edit: "main"} {
		status, refused := w.do("POST", "/rooms/"+room+"/receipt/m.read/"+url.PathEscape(event), bob.token, map[string]any{"thread_id": thread})
		if status != http.StatusBadRequest || refused.Get("errcode").Str != "M_INVALID_PARAM" {
			t.Errorf("a receipt for another thread: %d %s", status, refused.Raw)
		}
	}
	w.read(room, "bob", "m.read", root, map[string]any{"thread_id": root})
	check("the root is read in its thread", "0/0 thread 1/0")
	w.read(room, "bob", "m.read", again, map[string]any{"thread_id": root})
	check("the thread is read", "0/0")
	for range 300 { // more than is kept in memory
		w.say(room, "alice", "more")
	}
	w.event(room, "alice", "m.room.message", nil, relates("m.replace", answer, "* bob!", mention))
	check("an edit of long ago", "300/0 thread 1/1")
	other := w.say(w.newRoom("alice"), "alice", "elsewhere")
	if status, refused := w.do("POST", "/rooms/"+room+"/read_markers", bob.token, map[string]any{"m.fully_read": other}); status != http.StatusNotFound {
		t.Errorf("an event of another room is fully read: %d %s", status, refused.Raw)
	}
}

// TestReceiptsForOneEvent: of two receipts for an event the one that says more is told.
func TestReceiptsForOneEvent(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice")
	w.join(room, "bob")
	alice := w.client("alice")
	said := w.say(room, "alice", "read me")
	alice.sync(0)
	w.read(room, "bob", "m.read", said, nil)
	w.read(room, "bob", "m.read", said, map[string]any{"thread_id": "main"})
	told := joined(alice.sync(0), room).Get("ephemeral.events.0.content." + gjson.Escape(said) + `.m\.read`)
	if told.Get(gjson.Escape(id("bob"))+".thread_id").Exists() || !told.Get(gjson.Escape(id("bob"))).Exists() {
		t.Errorf("bob has read: %s", told.Raw)
	}
}

// TestLostMembers: members that came with an answer which the client hasn't had come again.
func TestLostMembers(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.name", StateKey: new(""), Content: map[string]any{"name": "Room"}})
	w.join(room, "bob", "carol")
	alice := w.client("alice")
	alice.filter = `{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":1}}}`
	w.say(room, "alice", "hello")
	alice.sync(0)
	members := func() string {
		var all []string
		for _, e := range joined(alice.sync(0), room).Get("state.events").Array() {
			all = append(all, short(e))
		}
		return strings.Join(all, " ")
	}
	w.say(room, "bob", "hi")
	before := alice.since
	want(t, "the first time", members(), "@bob:join")
	alice.since = before
	want(t, "the answer was lost", members(), "@bob:join")
	w.say(room, "bob", "hi")
	want(t, "and then had", members(), "")
}
