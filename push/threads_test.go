package push_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/tidwall/gjson"
)

// TestThreadSubscriptions has somebody subscribe to threads, by hand and as their client
// does for them, and hear of those only, wherever rules of their own would say otherwise.
func TestThreadSubscriptions(t *testing.T) {
	w := newWorld(t, false)
	room := w.room("alice", nil, "bob", "carol")
	reply := func(root, body string, more object) string {
		content := message(body, object{"m.relates_to": object{"rel_type": "m.thread", "event_id": root}})
		for k, v := range more {
			content[k] = v
		}
		return w.send(room, "alice", "m.room.message", content)
	}
	path := func(in, root string) string {
		return "/_matrix/client/unstable/io.element.msc4306/rooms/" + in + "/thread/" + url.PathEscape(root) + "/subscription"
	}
	one, two := w.say(room, "alice", "one"), w.say(room, "alice", "two")
	first := reply(one, "first", nil)
	w.read(room, "bob", first)
	w.read(room, "carol", first)

	w.refused("404 M_NOT_FOUND", "GET", path(room, one), "bob", nil)
	w.refused("404 M_NOT_FOUND", "PUT", path(room, "$nothing"), "bob", object{})
	w.refused("404 M_NOT_FOUND", "PUT", path("!nowhere:test.local", one), "bob", object{})
	w.refused("404 M_NOT_FOUND", "PUT", path(room, one), "bob", object{"automatic": "$nothing"})
	w.refused("404 M_NOT_FOUND", "DELETE", path(room, "$nothing"), "bob", nil)
	w.refused("400 IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", "PUT", path(room, one), "bob", object{"automatic": one})
	w.refused("400 IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", "PUT", path(room, two), "bob", object{"automatic": first})
	w.ok("DELETE", path(room, one), "bob", nil)
	automatic := func() string { return w.ok("GET", path(room, one), "bob", nil).Get("automatic").Raw }
	w.ok("PUT", path(room, one), "bob", object{"automatic": first})
	want(t, "automatic", automatic(), "true")
	w.ok("PUT", path(room, one), "bob", object{})
	want(t, "by hand", automatic(), "false")
	w.ok("PUT", path(room, one), "bob", object{"automatic": first})
	want(t, "by hand still", automatic(), "false")
	w.ok("DELETE", path(room, one), "bob", nil)
	w.refused("404 M_NOT_FOUND", "GET", path(room, one), "bob", nil)
	w.refused("409 IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION", "PUT", path(room, one), "bob", object{"automatic": first})
	second := reply(one, "second", nil)
	want(t, "after the end", w.counts("bob", room), "0/0")
	want(t, "who knows nothing of subscriptions", w.counts("carol", room), "1/0")
	w.ok("PUT", path(room, one), "bob", object{"automatic": second})

	reply(one, "third", nil)
	reply(two, "not this", nil)
	want(t, "what is subscribed to", w.counts("bob", room), "1/0")
	reply(two, "bob?", object{"m.mentions": object{"user_ids": []string{id("bob")}}})
	want(t, "a mention", w.counts("bob", room), "2/1")
	w.ok("PUT", rulePath("room", room, ""), "bob", object{"actions": []any{}})
	w.say(room, "alice", "quiet")
	reply(one, "fourth", nil)
	want(t, "in a room that is muted", w.counts("bob", room), "3/1")
	w.restart()
	reply(one, "fifth", nil)
	reply(two, "nor this", nil)
	want(t, "after a restart", w.counts("bob", room), "4/1")
	w.ok("PUT", rulePath("postcontent", ".io.element.msc4306.rule.subscribed_thread", "/enabled"), "bob", object{"enabled": false})
	reply(one, "sixth", nil)
	want(t, "without the rule", w.counts("bob", room), "4/1")
	w.refused("400 M_INVALID_PARAM", "PUT", rulePath("postcontent", "mine", ""), "bob", object{"actions": []any{}, "conditions": []any{}})
}

// TestThreadSubscriptionsAreTold has a device learn of subscriptions to threads by sliding
// sync, and page through those that are too many.
func TestThreadSubscriptionsAreTold(t *testing.T) {
	w := newWorld(t, false)
	room := w.room("alice", nil, "bob")
	var threads []string
	for n := range 5 {
		threads = append(threads, w.say(room, "alice", fmt.Sprint(n)))
	}
	path := func(n int) string {
		return "/_matrix/client/unstable/io.element.msc4306/rooms/" + room + "/thread/" + url.PathEscape(threads[n]) + "/subscription"
	}
	pos := ""
	slide := func(limit int) gjson.Result {
		t.Helper()
		query := "?pos=" + pos
		if pos == "" {
			query = ""
		}
		answer := w.ok("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"+query, "bob",
			object{"extensions": object{"io.element.msc4308.thread_subscriptions": object{"enabled": true, "limit": limit}}})
		pos = answer.Get("pos").Str
		return answer.Get(`extensions.io\.element\.msc4308\.thread_subscriptions`)
	}
	in := func(answer gjson.Result, part string) (list []string) {
		answer.Get(part + "." + gjson.Escape(room)).ForEach(func(id, s gjson.Result) bool {
			for n, thread := range threads {
				if thread == id.Str {
					list = append(list, fmt.Sprint(n, " ", s.Get("automatic").Raw, s.Get("bump_stamp").Int() > 0))
				}
			}
			return true
		})
		return list
	}
	want(t, "nothing", slide(10).Raw, "")
	w.ok("PUT", path(0), "bob", object{})
	want(t, "a subscription", in(slide(10), "subscribed"), "[0 falsetrue]")
	w.ok("DELETE", path(0), "bob", nil)
	want(t, "its end", in(slide(10), "unsubscribed"), "[0 true]")
	want(t, "nothing new", slide(10).Raw, "")
	for n := range 5 {
		w.ok("PUT", path(n), "bob", object{})
	}
	w.ok("DELETE", path(4), "bob", nil)
	before := pos
	some := slide(2)
	want(t, "the last ones", fmt.Sprint(in(some, "unsubscribed"), in(some, "subscribed")), "[4 true] [3 falsetrue]")
	page := func(query string) gjson.Result {
		t.Helper()
		return w.ok("GET", "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions?dir=b"+query, "bob", nil)
	}
	next := page("&limit=2&from=" + some.Get("prev_batch").Str + "&to=" + before)
	want(t, "those before", len(in(next, "subscribed")), 2)
	last := page("&limit=2&from=" + next.Get("end").Str + "&to=" + before)
	want(t, "the first", fmt.Sprint(in(last, "subscribed"), last.Get("end").Exists()), "[0 falsetrue] false")
	want(t, "all", len(in(page(""), "subscribed")), 4)
	want(t, "of somebody else", w.ok("GET", "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions?dir=b", "alice", nil).Raw, "{}")
	pos = ""
	want(t, "who begins", fmt.Sprint(len(in(slide(10), "subscribed"))), "4")
	for _, query := range []string{"", "?dir=f", "?dir=b&limit=0", "?dir=b&from=x"} {
		w.refused("400 M_INVALID_PARAM", "GET", "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions"+query, "bob", nil)
	}
}
