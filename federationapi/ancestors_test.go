package federationapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
	"golang.org/x/time/rate"

	"hearth/federationapi/client"
	"hearth/storage"
)

// push sends events to another server in one transaction, and returns what it says of
// each, "" for that it took it.
func (h *hearth) push(to *hearth, events ...json.RawMessage) []string {
	h.t.Helper()
	answer, err := h.client.Do(background(h.t), client.Request{Method: "PUT", Server: to.name,
		URI: client.Path("/_matrix/federation/v1/send", fmt.Sprint(len(events), string(events[0][len(events[0])-40:]))), Body: object{"pdus": events}})
	if err != nil {
		h.t.Fatal(err)
	}
	var results struct {
		PDUs map[string]struct{ Error string } `json:"pdus"`
	}
	if err := json.Unmarshal(answer, &results); err != nil {
		h.t.Fatal(err)
	}
	var list []string
	for _, e := range events {
		for _, version := range []gomatrixserverlib.RoomVersion{"10", "12"} {
			pdu, err := gomatrixserverlib.MustGetRoomVersion(version).NewEventFromUntrustedJSON(e)
			if err != nil {
				continue
			}
			if r, ok := results.PDUs[pdu.EventID()]; ok {
				list = append(list, r.Error)
				break
			}
		}
	}
	return list
}

func (h *hearth) event(room, id string) *storage.Event {
	h.t.Helper()
	e, err := h.rooms.EventByID(background(h.t), room, id)
	if err != nil {
		h.t.Fatalf("%s: %v", id, err)
	}
	return e
}

// TestMissingAncestors sends a server only the last of many events. It asks for the
// others; where they are too many it takes over the state before those it has, and the
// rest is filled in later.
func TestMissingAncestors(t *testing.T) {
	for _, n := range []int{30, 700} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			all := newHearths(t, 2, nil)
			one, two := all[0], all[1]
			alice, bob := one.user("alice"), two.user("bob")
			room := one.room("12")
			two.join(room, bob, one)
			for i := range n {
				one.say(room, alice, fmt.Sprint(i))
				if i%100 == 10 {
					one.send(room, alice, "m.room.topic", new(""), object{"topic": fmt.Sprint(i)})
				}
			}
			last := one.event(room, one.say(room, alice, "last"))
			same(t, "the answer", one.push(two, last.JSON), "")
			if one.state(room) != two.state(room) {
				t.Errorf("the states differ: %s %s", one.state(room), two.state(room))
			}
			for range 20 {
				if !two.fill(room) {
					break
				}
			}
			same(t, "what bob hears", two.heard(room), one.heard(room)...)
			next := one.event(room, one.say(room, alice, "next"))
			same(t, "the answer to the next", one.push(two, next.JSON), "")
			if e := two.event(room, last.ID); e.Flags != 0 {
				t.Errorf("the last has flags %d", e.Flags)
			}
		})
	}
}

// TestUnknownAncestors sends an event that comes after one that nobody has, together
// with a good one: it fails alone. One that names an unknown authority, or one that has no
// say in it, does too.
func TestUnknownAncestors(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("10")
	two.join(room, bob, one)
	v, err := one.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	auth := func(more ...string) (ids []string) {
		for _, tuple := range [][2]string{{"m.room.create", ""}, {"m.room.power_levels", ""}, {"m.room.member", bob}} {
			entry, _ := v.Entry(tuple[0], tuple[1])
			ids = append(ids, entry.EventID)
		}
		return append(ids, more...)
	}
	rules, _ := v.Entry("m.room.join_rules", "")
	const nobody = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	made := func(prev, auth []string) json.RawMessage {
		pdu, err := two.rooms.SignTemplate("10", &gomatrixserverlib.ProtoEvent{SenderID: bob, RoomID: room, Type: "m.room.message",
			Content: []byte(`{"body":"bob's"}`), PrevEvents: prev, AuthEvents: auth, Depth: v.Room.Depth + 1})
		if err != nil {
			t.Fatal(err)
		}
		return pdu.JSON()
	}
	ends := v.Room.ForwardExtremities
	create, _ := v.Entry("m.room.create", "")
	results := two.push(one, made([]string{nobody}, auth()), made(ends, auth(nobody)), made(ends, auth(rules.EventID)),
		made(ends, auth(create.EventID)), made(ends, auth()))
	for i, result := range results {
		if (result == "") != (i == len(results)-1) {
			t.Errorf("%d: %q", i, result)
		}
	}
	same(t, "what alice hears", one.heard(room), "bob's")
	one.say(room, alice, "hello")
}

// TestTooManyGaps has a server send events that come after what nobody has, one after the
// other: only so many are taken in an hour, and the room goes on.
func TestTooManyGaps(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("10")
	two.join(room, bob, one)
	v := one.view(room)
	var ids []string
	for it := v.State.Iterator(); !it.Done(); {
		_, e, _ := it.Next()
		ids = append(ids, e.EventID)
	}
	two.tell(lies{"/get_missing_events/": func(*http.Request) any { return "nonsense" },
		"/state_ids/": func(*http.Request) any { return object{"pdu_ids": ids, "auth_chain_ids": ids} }})
	one.api.gaps.Add(room, rate.NewLimiter(0, 2))
	var events []json.RawMessage
	for n := range 4 {
		late := message(fmt.Sprint("late ", n))
		late.PrevEvents = []string{fmt.Sprintf("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%05d", n)}
		pdu := two.forged(room, bob, late)
		events = append(events, pdu.JSON())
	}
	for n, refused := range two.push(one, events...) {
		if (refused == "") != (n < 2) {
			t.Errorf("%d: %q", n, refused)
		}
	}
	one.say(room, alice, "still here")
	same(t, "what alice hears", one.heard(room), "late 0", "late 1", "still here")
}
