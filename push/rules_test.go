package push_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

func message(body string, more object) object {
	content := object{"msgtype": "m.text", "body": body}
	for k, v := range more {
		content[k] = v
	}
	return content
}

// TestRulesOfOnesOwn has people change their rules, and finds the unread counts by
// them: from memory and, after a restart, from the database.
func TestRulesOfOnesOwn(t *testing.T) {
	w := newWorld(t, false)
	noisy := w.room("alice", nil, "bob", "carol")
	quiet := w.room("alice", nil, "bob", "carol")
	check := func(what, bobNoisy, bobQuiet, carolQuiet string) {
		t.Helper()
		for again := range 2 {
			if again > 0 {
				w.restart()
			}
			want(t, what+": bob in the noisy room", w.counts("bob", noisy), bobNoisy)
			want(t, what+": bob in the quiet room", w.counts("bob", quiet), bobQuiet)
			want(t, what+": carol in the quiet room", w.counts("carol", quiet), carolQuiet)
		}
	}
	w.ok("PUT", rulePath("room", noisy, ""), "bob", object{"actions": []any{"dont_notify"}})
	want(t, "an action of old", w.ok("GET", rulePath("room", noisy, ""), "bob", nil).Get("actions").Raw, `["dont_notify"]`)
	w.ok("PUT", rulePath("content", "cake", ""), "bob", object{"pattern": "cake", "actions": []any{"notify", object{"set_tweak": "highlight"}}})
	late := w.room("alice", nil, "bob")
	w.say(late, "alice", "more cake")
	want(t, "a room that bob joined since", w.counts("bob", late), "1/1")
	w.say(noisy, "alice", "hello")
	w.say(quiet, "alice", "pancakes")
	w.say(quiet, "alice", "There is CAKE!")
	check("a muted room and a keyword", "0/0", "2/1", "2/0")
	w.say(noisy, "alice", "cake?")
	w.send(noisy, "alice", "m.room.message", message("hey bob", object{"m.mentions": object{"user_ids": []string{id("bob")}}}))
	check("content comes before room, mentions before both", "2/2", "2/1", "2/0")
	w.ok("PUT", rulePath("sender", id("alice"), ""), "bob", object{"actions": []any{}})
	w.ok("PUT", rulePath("content", "cake", "/enabled"), "bob", object{"enabled": false})
	w.say(quiet, "alice", "no more cake")
	last := w.say(quiet, "carol", "I have read that")
	check("a muted sender", "2/2", "3/1", "0/0")
	w.read(quiet, "bob", last)
	w.ok("DELETE", rulePath("sender", id("alice"), ""), "bob", nil)
	w.ok("PUT", rulePath("underride", ".m.rule.message", "/actions"), "bob", object{"actions": []any{"notify", object{"set_tweak": "highlight", "value": false}}})
	say := w.say(quiet, "alice", "one")
	w.ok("PUT", rulePath("override", ".m.rule.master", "/enabled"), "bob", object{"enabled": true})
	w.say(quiet, "alice", "two")
	check("the master rule", "2/2", "1/0", "2/0")
	w.ok("PUT", "/rooms/"+quiet+"/redact/"+url.PathEscape(say)+"/1", "alice", object{})
	check("a redacted message", "2/2", "0/0", "1/0")
}

// TestChangingRules puts rules in order and learns of it by /sync.
func TestChangingRules(t *testing.T) {
	w := newWorld(t, false)
	since := w.ok("GET", "/sync", "alice", nil)
	want(t, "rules at first", since.Get(`account_data.events.#(type=="m.push_rules").content.global.override.0.rule_id`).Str, ".m.rule.master")
	order := func(kind string) string {
		var ids []string
		for _, r := range w.ok("GET", "/pushrules/global/", "alice", nil).Get(kind).Array() {
			if r.Get("default").Bool() {
				ids = append(ids, "*")
				break
			}
			ids = append(ids, r.Get("rule_id").Str)
		}
		return strings.Join(ids, " ")
	}
	put := func(ruleID, query string) {
		w.ok("PUT", rulePath("underride", ruleID, query), "alice", object{"actions": []any{"notify"}})
	}
	put("a", "")
	put("b", "")
	put("c", "?after=b")
	put("d", "?before=b")
	want(t, "order", order("underride"), "d b c a *")
	put("d", "?after=a")
	put("b", "")
	want(t, "order", order("underride"), "b c a d *")
	put("d", "?before=b&after=a")
	w.ok("DELETE", rulePath("underride", "c", ""), "alice", nil)
	want(t, "order", order("underride"), "d b a *")
	w.ok("PUT", rulePath("override", "first", ""), "alice", object{"actions": []any{}, "conditions": []any{object{"kind": "org.example", "more": 1}}})
	rules := w.ok("GET", "/pushrules/", "alice", nil)
	want(t, "master stays first", rules.Get("global.override.0.rule_id").Str+" "+rules.Get("global.override.1.rule_id").Str, ".m.rule.master first")
	want(t, "unknown conditions are kept", rules.Get("global.override.1.conditions").Raw, `[{"kind":"org.example","more":1}]`)
	w.ok("PUT", rulePath("override", "first", "/enabled"), "alice", object{"enabled": false})
	w.ok("PUT", rulePath("override", "first", ""), "alice", object{"actions": []any{"notify", "coalesce", object{"set_tweak": "sound", "value": "x"}}})
	want(t, "a changed rule stays disabled", w.ok("GET", rulePath("override", "first", "/enabled"), "alice", nil).Raw, `{"enabled":false}`)
	want(t, "actions", w.ok("GET", rulePath("override", "first", "/actions"), "alice", nil).Raw, `{"actions":["notify","coalesce",{"set_tweak":"sound","value":"x"}]}`)
	news := w.ok("GET", "/sync?since="+since.Get("next_batch").Str, "alice", nil)
	event := news.Get(`account_data.events.#(type=="m.push_rules").content`)
	w.restart()
	want(t, "sync and the endpoint agree", gjson.Parse(event.Raw).Get("@ugly").Raw, w.ok("GET", "/pushrules/", "alice", nil).Get("@ugly").Raw)
	want(t, "account data", w.ok("GET", "/user/"+id("alice")+"/account_data/m.push_rules", "alice", nil).Get("@ugly").Raw, event.Get("@ugly").Raw)
	all := w.ok("GET", "/sync", "alice", nil).Get(`account_data.events.#(type=="m.push_rules")#`)
	want(t, "a first sync has the rules once", len(all.Array()), 1)
	refusedRules(w)
}

func refusedRules(w *world) {
	ok := object{"actions": []any{"notify"}}
	for _, x := range []struct {
		want, method, path string
		body               any
	}{
		{"400 M_INVALID_PARAM", "PUT", rulePath("nonsense", "x", ""), ok},
		{"400 M_INVALID_PARAM", "PUT", rulePath("override", ".mine", ""), ok},
		{"400 M_INVALID_PARAM", "PUT", rulePath("override", "a/b", ""), ok},
		{"400 M_INVALID_PARAM", "PUT", rulePath("override", `a\b`, ""), ok},
		{"400 M_MISSING_PARAM", "PUT", rulePath("override", "x", ""), object{}},
		{"400 M_MISSING_PARAM", "PUT", rulePath("content", "x", ""), ok},
		{"400 M_UNKNOWN", "PUT", rulePath("override", "x", "?before=nobody"), ok},
		{"400 M_UNKNOWN", "PUT", rulePath("override", "x", "?after=.m.rule.master"), ok},
		{"400 M_INVALID_PARAM", "PUT", rulePath("override", "x", ""), object{"actions": []any{"shout"}}},
		{"400 M_INVALID_PARAM", "PUT", rulePath("override", "x", ""), object{"actions": []any{1}}},
		{"400 M_BAD_JSON", "PUT", rulePath("override", "x", ""), object{"actions": []any{}, "conditions": []any{"x"}}},
		{"400 M_BAD_JSON", "PUT", rulePath("override", "x", ""), object{"actions": []any{}, "conditions": []any{object{}}}},
		{"400 M_INVALID_PARAM", "PUT", rulePath("override", strings.Repeat("x", 300), ""), ok},
		{"400 M_INVALID_PARAM", "PUT", rulePath("content", "x", ""), object{"actions": []any{}, "pattern": strings.Repeat("x", 300)}},
		{"404 M_NOT_FOUND", "GET", rulePath("override", "x", ""), nil},
		{"404 M_NOT_FOUND", "DELETE", rulePath("override", "x", ""), nil},
		{"404 M_NOT_FOUND", "DELETE", rulePath("override", ".m.rule.master", ""), nil},
		{"404 M_NOT_FOUND", "PUT", rulePath("override", "x", "/enabled"), object{"enabled": true}},
		{"404 M_NOT_FOUND", "PUT", rulePath("override", "x", "/actions"), ok},
		{"400 M_MISSING_PARAM", "PUT", rulePath("override", ".m.rule.master", "/enabled"), object{}},
	} {
		w.refused(x.want, x.method, x.path, "alice", x.body)
	}
}

// TestDefaultRulesAgree holds what is decided once for all who have the default rules
// against the rules themselves: dave has one more, which never matches.
func TestDefaultRulesAgree(t *testing.T) {
	w := newWorld(t, false)
	room := w.room("alice", nil, "carol", "dave", "eve")
	w.ok("PUT", rulePath("override", "never", ""), "dave", object{"actions": []any{}, "conditions": []any{object{"kind": "never"}}})
	both := object{"user_ids": []string{id("carol"), id("dave")}}
	for i, x := range []struct {
		sender, kind string
		content      object
	}{
		{"alice", "m.room.message", message("plain", nil)},
		{"alice", "m.room.message", message("notice", object{"msgtype": "m.notice", "m.mentions": both})},
		{"alice", "m.room.message", message("mention", object{"m.mentions": both})},
		{"alice", "m.room.message", message("room", object{"m.mentions": object{"room": true}})},
		{"eve", "m.room.message", message("room without power", object{"m.mentions": object{"room": true}})},
		{"alice", "m.room.message", message("edit", object{"m.relates_to": object{"rel_type": "m.replace", "event_id": "$x"}})},
		{"alice", "m.room.message", message("edit with a mention", object{"m.mentions": both, "m.relates_to": object{"rel_type": "m.replace", "event_id": "$x"}})},
		{"alice", "m.reaction", object{"m.relates_to": object{"rel_type": "m.annotation", "event_id": "$x", "key": "+"}}},
		{"alice", "m.reaction", object{"m.mentions": both}},
		{"alice", "m.room.encrypted", object{"algorithm": "x"}},
		{"alice", "m.call.invite", object{"call_id": "1"}},
		{"alice", "org.matrix.msc3381.poll.start", object{"org.matrix.msc3381.poll.start": object{}}},
		{"alice", "org.matrix.msc3381.poll.response", object{"m.relates_to": object{"rel_type": "m.reference", "event_id": "$x"}}},
		{"alice", "org.matrix.msc3381.poll.end", object{"m.relates_to": object{"rel_type": "m.reference", "event_id": "$x"}}},
		{"alice", "org.matrix.msc3381.poll.start", object{"m.relates_to": object{"rel_type": "m.replace", "event_id": "$x"}}},
		{"alice", "m.sticker", object{"body": "sticker"}},
		{"alice", "m.sticker", object{"body": "sticker", "m.mentions": both}},
		{"alice", "m.room.message", message("broken", object{"m.mentions": object{"user_ids": "x", "room": "yes"}})},
	} {
		w.send(room, x.sender, x.kind, x.content)
		want(t, fmt.Sprint("event ", i, ": dave and carol"), w.counts("dave", room), w.counts("carol", room))
	}
	for _, kind := range []string{"m.room.topic", "m.room.server_acl", "m.room.tombstone"} {
		w.ok("PUT", "/rooms/"+room+"/state/"+kind, "alice", object{"topic": "t", "allow": []string{"*"}, "body": "b", "replacement_room": "!x:y"})
		want(t, kind+": dave and carol", w.counts("dave", room), w.counts("carol", room))
	}
	want(t, "all together", w.counts("carol", room), "13/6")
}

// TestNotifications pages through what somebody was notified of.
func TestNotifications(t *testing.T) {
	w := newWorld(t, false)
	one, two := w.room("alice", nil, "bob"), w.room("alice", nil, "bob")
	w.say(one, "alice", "before carol came")
	w.ok("POST", "/join/"+one, "carol", object{})
	w.ok("PUT", rulePath("room", two, ""), "bob", object{"actions": []any{}})
	first := w.say(one, "alice", "first")
	for i := range 3 {
		w.say(one, "alice", fmt.Sprint("text ", i))
		w.say(two, "alice", "muted")
	}
	w.send(two, "alice", "m.room.message", message("mention", object{"m.mentions": object{"user_ids": []string{id("bob")}}}))
	w.say(one, "bob", "my own")
	w.read(one, "bob", first)
	page := func(name, query string) (bodies, next string) {
		t.Helper()
		answer := w.ok("GET", "/notifications?"+query, name, nil)
		var all []string
		for _, n := range answer.Get("notifications").Array() {
			text := n.Get("event.content.body").Str
			if n.Get("read").Bool() {
				text += " (read)"
			}
			all = append(all, text)
			if !strings.HasPrefix(n.Get("room_id").Str, "!") || n.Get("ts").Int() == 0 || n.Get("actions.0").Str != "notify" {
				t.Errorf("a notification is %s", n.Raw)
			}
		}
		return strings.Join(all, ", "), answer.Get("next_token").Str
	}
	bodies, next := page("bob", "limit=3")
	want(t, "first page", bodies, "mention, text 2, text 1")
	bodies, next = page("bob", "limit=3&from="+next)
	want(t, "second page", bodies, "text 0, first (read), before carol came (read)")
	want(t, "no more", next, "")
	bodies, _ = page("bob", "only=highlight")
	want(t, "highlights", bodies, "mention")
	bodies, _ = page("carol", "")
	want(t, "of who came later", bodies, "my own, text 2, text 1, text 0, first")
	w.refused("400 M_INVALID_PARAM", "GET", "/notifications?from=x", "bob", nil)
	w.refused("400 M_INVALID_PARAM", "GET", "/notifications?limit=x", "bob", nil)
}
