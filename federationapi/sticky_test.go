package federationapi

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"hearth/federationapi/client"
	"hearth/roomserver"
	"hearth/storage"
)

// stick has a user of h send a message that is sticky for an hour.
func (h *hearth) stick(room, sender, body string) string {
	h.t.Helper()
	ms := int64(3_600_000)
	text, _ := json.Marshal(object{"msgtype": "m.text", "body": body}) // strings always marshal
	id, err := h.rooms.Send(background(h.t), roomserver.EventRequest{RoomID: room, Sender: sender, Type: "m.room.message", Content: text, StickyMS: &ms})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

// TestStickyForNewcomers hands what is sticky over to a server that comes into the room.
func TestStickyForNewcomers(t *testing.T) {
	for _, version := range []string{"1", "12"} {
		t.Run(version, func(t *testing.T) {
			all := newHearths(t, 3, nil)
			one, two, three := all[0], all[1], all[2]
			for _, h := range []*hearth{one, two} {
				h.startSending()
			}
			room := one.room(version)
			one.stick(room, "@alice:"+one.name, "sticky")
			one.say(room, "@alice:"+one.name, "between")
			two.join(room, "@bob:"+two.name, one)
			eventually(t, "that bob is told", func() bool { return slices.Contains(two.heard(room), "sticky") })
			two.stick(room, "@bob:"+two.name, "here too")
			three.join(room, "@carol:"+three.name, one) // of which two learns from one
			eventually(t, "that carol is told", func() bool {
				heard := three.heard(room)
				return slices.Contains(heard, "sticky") && slices.Contains(heard, "here too")
			})
			eventually(t, "that nothing is left to hand over", func() bool {
				left, err := one.db.ListHandovers(background(t), "", 0, 1<<60, 10)
				return err == nil && len(left) == 0
			})
		})
	}
}

// TestStickyIsReconsidered has a server not take what somebody says, since by its state they
// may not, until they may: but only what is sticky.
func TestStickyIsReconsidered(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	bob := "@bob:" + two.name
	room := one.room("12")
	two.join(room, bob, one)
	two.stick(room, bob, "sticky")
	two.say(room, bob, "not sticky")
	allow := func(level int) {
		one.send(room, "@alice:"+one.name, "m.room.power_levels", new(""), object{"events_default": level, "users": object{}})
	}
	allow(50)
	events, err := two.db.EventsBySendersOf(background(t), two.name, 0, 1<<60, 10)
	if err != nil {
		t.Fatal(err)
	}
	var pdus []json.RawMessage
	for _, e := range events {
		if e.Type == "m.room.message" {
			pdus = append(pdus, e.JSON)
		}
	}
	if _, err := two.client.Do(background(t), client.Request{Method: "PUT", Server: one.name, URI: "/_matrix/federation/v1/send/late",
		Body: object{"pdus": pdus}}); err != nil {
		t.Fatal(err)
	}
	if heard := one.heard(room); len(heard) > 0 {
		t.Errorf("heard while bob may not speak: %q", heard)
	}
	one.say(room, "@alice:"+one.name, "quiet")
	allow(0)
	same(t, "when bob may", one.heard(room), "quiet", "sticky")
}

// TestStickyFromThePast has clients told of a sticky event that was found in the room's past,
// when it comes by itself, once.
func TestStickyFromThePast(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	room := one.room("12")
	id := one.stick(room, "@alice:"+one.name, "sticky")
	two.join(room, "@bob:"+two.name, one)
	for two.fill(room) {
		continue // until all of the past is known
	}
	v, err := two.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	before := two.db.Stream.Position()
	news := func() (list []string) {
		events, err := two.db.StickyEvents(background(t), map[int64]storage.Position{v.Room.NID: before}, 1<<60, time.Now(), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			list = append(list, e.ID)
		}
		return list
	}
	if found := news(); len(found) > 0 {
		t.Errorf("what was found in the past is news: %v", found)
	}
	e, err := one.rooms.EventByID(background(t), room, id)
	if err != nil {
		t.Fatal(err)
	}
	push := func(txn string) {
		if _, err := one.client.Do(background(t), client.Request{Method: "PUT", Server: two.name, URI: "/_matrix/federation/v1/send/" + txn,
			Body: object{"pdus": []json.RawMessage{e.JSON}}}); err != nil {
			t.Fatal(err)
		}
	}
	push("first")
	same(t, "news", news(), id)
	before = two.db.Stream.Position()
	push("again")
	if found := news(); len(found) > 0 {
		t.Errorf("told again: %v", found)
	}
}
