package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// The five words that Alice says: before anybody is invited, then when the
// others are invited, when some have joined, when some of those have gone, and
// when one of them is back.
var words = strings.Fields("before invited joined gone back")

// person is somebody beside Alice, and what of her words the rules let them see
// under each history visibility.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
type person struct {
	name string
	sees map[string]string
	// away is whether the room is left, so that it ends for them where they left.
	away bool
	// outside is whether they never were in, or have forgotten that, so that the room as such is closed to them.
	outside bool
	// section is where a first sync shows the room; nowhere if empty.
	section string

	user  *user
	since string // a sync token from before the room was made
}

func people() []*person {
	const all = "before invited joined gone back"
	return []*person{
		{name: "stranger", outside: true, sees: map[string]string{"world_readable": all}},
		{name: "invitee", outside: true, section: "invite", sees: map[string]string{
			"world_readable": all, "invited": "invited joined gone back"}},
		{name: "member", section: "join", sees: map[string]string{
			"world_readable": all, "shared": all, "invited": "invited joined gone back", "joined": "joined gone back"}},
		{name: "leaver", away: true, section: "leave", sees: map[string]string{
			"world_readable": all, "shared": "before invited joined", "invited": "invited joined", "joined": "joined"}},
		{name: "banned", away: true, section: "leave", sees: map[string]string{
			"world_readable": all, "shared": "before invited joined", "invited": "invited joined", "joined": "joined"}},
		{name: "returner", section: "join", sees: map[string]string{
			"world_readable": all, "shared": all, "invited": "invited joined back", "joined": "joined back"}},
		{name: "forgetter", outside: true, sees: map[string]string{"world_readable": all}},
		{name: "knocker", outside: true, section: "knock", sees: map[string]string{"world_readable": all}},
	}
}

// hall is a room of one history visibility after the whole course of events.
type hall struct {
	id, visibility string
	events         map[string]string // event ID of each word
	delayed        string            // id of what Alice has scheduled
	stuck          string            // a sticky event, sent first
}

// TestVisibility asks, on every path that shows events, what each kind of
// person sees of a room under each history visibility.
func TestVisibility(t *testing.T) {
	s := startServer(t)
	alice, late := register(t, s.base, "alice"), register(t, s.base, "latecomer")
	cast := people()
	for _, p := range cast {
		p.user = register(t, s.base, p.name)
		p.since = p.user.sync(t, "", "").Get("next_batch").String()
	}
	for _, visibility := range []string{"world_readable", "shared", "invited", "joined"} {
		h := stage(t, visibility, alice, late, cast)
		for _, p := range cast {
			t.Run(visibility+"/"+p.name, func(t *testing.T) {
				h.checkEvents(t, p)
				h.checkMessages(t, p)
				h.checkRelations(t, p)
				h.checkSync(t, p)
				h.checkSlidingSync(t, p)
				h.checkState(t, p)
				h.checkFound(t, p)
				h.checkReports(t, p)
				h.checkDelayed(t, p)
				h.checkSticky(t, p)
			})
		}
	}
}

// stage makes the room and lets everything happen in it.
func stage(t *testing.T, visibility string, alice, late *user, cast []*person) *hall {
	t.Helper()
	h := &hall{visibility: visibility, events: map[string]string{}}
	h.id = alice.createRoom(t, map[string]any{
		"preset": "private_chat", "topic": "old",
		"initial_state": []any{map[string]any{
			"type": "m.room.history_visibility", "state_key": "", "content": map[string]any{"history_visibility": visibility},
		}},
	})
	say := func(word string) { // each refers to the create event, which is found by the room's id
		h.events[word] = alice.ok(t, "PUT", inRoom(h.id, "send/m.room.message/"+word), map[string]any{"msgtype": "m.text", "body": word,
			"m.relates_to": map[string]any{"rel_type": "m.reference", "event_id": h.created()}}).Get("event_id").String()
	}
	h.stuck = alice.ok(t, "PUT", inRoom(h.id, "send/org.example.call/stuck?org.matrix.msc4354.sticky_duration_ms=3600000"),
		map[string]any{"text": "sticks"}).Get("event_id").String()
	invitee, leaver, banned, returner, forgetter := cast[1].user, cast[3].user, cast[4].user, cast[5].user, cast[6].user

	say("before")
	for _, p := range cast[1:7] {
		alice.act(t, h.id, "invite", p.user.id)
	}
	say("invited")
	for _, p := range cast[1:7] {
		if p.user != invitee {
			p.user.join(t, h.id)
		}
	}
	say("joined")
	for _, u := range []*user{leaver, returner, forgetter} {
		u.ok(t, "POST", inRoom(h.id, "leave"), map[string]any{})
	}
	forgetter.ok(t, "POST", inRoom(h.id, "forget"), map[string]any{})
	h.knock(t, alice, cast[7].user)
	alice.act(t, h.id, "ban", banned.id)
	alice.setState(t, h.id, "m.room.topic", "", map[string]any{"topic": "new"})
	alice.act(t, h.id, "invite", late.id)
	late.join(t, h.id)
	say("gone")
	alice.act(t, h.id, "invite", returner.id)
	returner.join(t, h.id)
	say("back")
	h.delayed = alice.ok(t, "PUT", delayedEvents+"/rooms/"+h.id+"/delayed_event/m.room.message/later",
		map[string]any{"delay_ms": 600_000, "content": map[string]any{"msgtype": "m.text", "body": "scheduled by alice"}}).Get("delay_id").String()
	return h
}

// knock has somebody ask to be let into the room while that can be asked.
func (h *hall) knock(t *testing.T, alice, who *user) {
	t.Helper()
	for _, rule := range []string{"knock", "invite"} {
		alice.setState(t, h.id, "m.room.join_rules", "", map[string]any{"join_rule": rule})
		if rule == "knock" {
			who.ok(t, "POST", clientV3+"/knock/"+url.PathEscape(h.id), map[string]any{})
		}
	}
}

func (h *hall) visible(p *person) []string { return strings.Fields(p.sees[h.visibility]) }

// endsEarly is whether a list of the room may end where the person left it even
// though the visibility would show more.
func (h *hall) endsEarly(p *person) bool { return p.away && h.visibility == "world_readable" }

// closed is whether the room's lists are refused to the person altogether.
func (h *hall) closed(p *person) bool { return p.outside && h.visibility != "world_readable" }

func (h *hall) checkEvents(t *testing.T, p *person) {
	t.Helper()
	for _, word := range words {
		id := h.events[word]
		seen := slices.Contains(h.visible(p), word)
		event := p.user.do(t, "GET", inRoom(h.id, "event/"+id), nil)
		context := p.user.do(t, "GET", inRoom(h.id, "context/"+id+"?limit=100"), nil)
		thread := p.user.do(t, "PUT", "/_matrix/client/unstable/io.element.msc4306/rooms/"+h.id+"/thread/"+id+"/subscription", map[string]any{})
		if thread.status != http.StatusOK && (seen && !h.closed(p) || thread.status != http.StatusNotFound) || thread.status == http.StatusOK && !seen {
			t.Errorf("subscribing to the thread of %q: %s", word, thread)
		}
		if !seen {
			if event.status != http.StatusNotFound || event.errcode() != "M_NOT_FOUND" {
				t.Errorf("/event of %q: want 404 M_NOT_FOUND, got %s", word, event)
			}
			if context.status != http.StatusNotFound && context.status != http.StatusForbidden {
				t.Errorf("/context of %q: want a refusal, got %s", word, context)
			}
			continue
		}
		if h.closed(p) {
			continue // rule 4 says yes, the module's introduction says to join first: both are right
		}
		if event.status != http.StatusOK || event.json().Get("content.body").String() != word {
			t.Errorf("/event of %q: %s", word, event)
		}
		if context.status != http.StatusOK {
			t.Errorf("/context of %q: %s", word, context)
			continue
		}
		around := append(context.json().Get("events_before").Array(), context.json().Get("event"))
		around = append(around, context.json().Get("events_after").Array()...)
		h.checkWords(t, p, "/context of "+word, around)
	}
}

func (h *hall) checkMessages(t *testing.T, p *person) {
	t.Helper()
	for _, dir := range []string{"b", "f"} {
		if h.closed(p) {
			p.user.refused(t, http.StatusForbidden, "M_FORBIDDEN", "GET", inRoom(h.id, "messages?dir="+dir), nil)
			continue
		}
		answer := p.user.ok(t, "GET", inRoom(h.id, "messages?limit=100&dir="+dir), nil)
		h.checkWords(t, p, "/messages "+dir, answer.Get("chunk").Array())
	}
}

// created is the create event's id: the room's is made of it.
func (h *hall) created() string { return "$" + h.id[1:] }

func (h *hall) checkRelations(t *testing.T, p *person) {
	t.Helper()
	path := "/_matrix/client/v1/rooms/" + h.id + "/relations/" + h.created() + "?limit=100"
	if h.closed(p) {
		p.user.refused(t, http.StatusForbidden, "M_FORBIDDEN", "GET", path, nil)
		return
	}
	answer := p.user.do(t, "GET", path, nil)
	if answer.status == http.StatusNotFound && (p.outside || p.sees[h.visibility] != strings.Join(words, " ")) {
		return // the create event is hidden, as are words, or as old as from before the visibility was set
	}
	if answer.status != http.StatusOK {
		t.Errorf("/relations: %s", answer)
	}
	h.checkWords(t, p, "/relations", answer.json().Get("chunk").Array())
}

func (h *hall) checkSync(t *testing.T, p *person) {
	t.Helper()
	filter := `{"room":{"include_leave":true,"timeline":{"limit":100}}}`
	for name, answer := range map[string]gjson.Result{"first sync": p.user.sync(t, "", filter), "sync": p.user.sync(t, p.since, filter)} {
		want := p.section
		if p.name == "forgetter" && name == "sync" {
			continue // it tells other devices that the room was left, if that was since
		}
		for _, have := range []string{"invite", "join", "leave", "knock"} {
			room := answer.Get("rooms." + have + "." + escapeKey(h.id))
			if room.Exists() != (have == want) {
				t.Errorf("%s: room in section %q: %v", name, have, room.Exists())
			}
			if room.Exists() && have != "invite" && have != "knock" {
				h.checkWords(t, p, name, room.Get("timeline.events").Array())
			}
			if room.Exists() && (have == "invite" || have == "knock") && strings.Contains(room.Raw, "m.room.message") {
				t.Errorf("%s: who is outside is shown messages: %s", name, room.Raw)
			}
		}
	}
}

// checkSlidingSync asks for the room by name, in both ways of writing that.
func (h *hall) checkSlidingSync(t *testing.T, p *person) {
	t.Helper()
	for path, state := range map[string]string{
		"unstable/org.matrix.simplified_msc3575/sync": `[["*","*"]]`, "v4/sync": `{"include":[{}]}`,
	} {
		body := fmt.Sprintf(`{"room_subscriptions":{%q:{"timeline_limit":100,"required_state":%s}}}`, h.id, state)
		room := p.user.ok(t, "POST", "/_matrix/client/"+path, body).Get("rooms." + escapeKey(h.id))
		if room.Exists() == (p.section == "") {
			t.Errorf("%s tells of the room: %v", path, room.Exists())
		}
		if p.outside {
			if strings.Contains(room.Raw, "m.room.message") || room.Get("timeline").Exists() || room.Get("joined_count").Exists() {
				t.Errorf("%s shows what is inside: %s", path, room.Raw)
			}
			continue
		}
		h.checkWords(t, p, path, room.Get("timeline").Array())
		topic := room.Get(`required_state.#(type=="m.room.topic").content.topic`).String()
		if topic != "new" && !p.away || topic != "old" && p.away && !h.endsEarly(p) {
			t.Errorf("%s: the topic is %q", path, topic)
		}
		if strings.Contains(room.Get("required_state").Raw, "latecomer") && p.away && !h.endsEarly(p) {
			t.Errorf("%s shows who came later: %s", path, room.Get("required_state").Raw)
		}
	}
}

func (h *hall) checkState(t *testing.T, p *person) {
	t.Helper()
	paths := []string{"state", "state/m.room.topic/", "members"}
	if h.closed(p) {
		for _, path := range append(paths, "joined_members") {
			p.user.refused(t, http.StatusForbidden, "M_FORBIDDEN", "GET", inRoom(h.id, path), nil)
		}
		return
	}
	topic := p.user.ok(t, "GET", inRoom(h.id, paths[1]), nil).Get("topic").String()
	inState := p.user.ok(t, "GET", inRoom(h.id, paths[0]), nil).Get(`#(type=="m.room.topic").content.topic`).String()
	members := p.user.ok(t, "GET", inRoom(h.id, paths[2]+"?membership=join"), nil).Raw
	now := fmt.Sprint("new", "new", true)
	then := fmt.Sprint("old", "old", false)
	got := fmt.Sprint(topic, inState, strings.Contains(members, "latecomer"))
	if got != now && !p.away || got != then && p.away && !h.endsEarly(p) {
		t.Errorf("state of the room: topic %q and %q, latecomer a member: %v", topic, inState, strings.Contains(members, "latecomer"))
	}
	if p.away || p.outside {
		p.user.refused(t, http.StatusForbidden, "M_FORBIDDEN", "GET", inRoom(h.id, "joined_members"), nil)
	}
}

// checkWords asserts that the events show exactly the words the person may see.
func (h *hall) checkWords(t *testing.T, p *person, where string, events []gjson.Result) {
	t.Helper()
	var got []string
	for _, ev := range events {
		if word := ev.Get("content.body").String(); ev.Get("type").String() == "m.room.message" {
			got = append(got, word)
		}
	}
	order := func(a, b string) int { return slices.Index(words, a) - slices.Index(words, b) }
	slices.SortFunc(got, order)
	want := h.visible(p)
	if h.endsEarly(p) && slices.Equal(got, words[:3]) {
		return
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s shows %v instead of %v", where, got, want)
	}
}
