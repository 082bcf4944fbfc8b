package federationapi

import (
	"fmt"
	"slices"
	"testing"

	"hearth/roomserver"
	"hearth/storage"
)

// fill fills the newest gap of the room's timeline, and reports whether there was one
// and a server had something.
func (h *hearth) fill(room string) bool {
	h.t.Helper()
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		h.t.Fatal(err)
	}
	gap, err := h.rooms.GapBefore(background(h.t), v, storage.Place{Position: 1 << 60}, storage.Place{})
	if err != nil {
		h.t.Fatal(err)
	}
	if gap == nil {
		return false
	}
	filled, err := h.api.Backfill(background(h.t), v, gap)
	if err != nil {
		h.t.Fatal(err)
	}
	return filled
}

// timeline is the room's timeline, in its order.
func (h *hearth) timeline(room string) []*storage.Event {
	h.t.Helper()
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		h.t.Fatal(err)
	}
	events, err := h.db.TimelineAfter(background(h.t), v.Room.NID, storage.Place{}, storage.Place{Position: 1 << 60}, 10_000)
	if err != nil {
		h.t.Fatal(err)
	}
	return events
}

// TestBackfill has a server that joined late read what was said before: in the same
// order, with the same state at each event, and shown to whom the room shows it.
func TestBackfill(t *testing.T) {
	for _, version := range []string{"1", "10", "12"} {
		t.Run(version, func(t *testing.T) { backfillRoom(t, version) })
	}
}

func backfillRoom(t *testing.T, version string) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room(version)
	setting := func(v string) {
		one.send(room, alice, "m.room.history_visibility", new(""), object{"history_visibility": v})
	}
	setting("shared")
	for n := range 60 {
		one.say(room, alice, fmt.Sprint("shared ", n))
	}
	setting("joined")
	secret := one.say(room, alice, "secret")
	one.send(room, alice, "m.room.topic", new(""), object{"topic": "old"})
	setting("shared")
	redacted := one.say(room, alice, "redacted")
	one.redact(room, alice, redacted)
	for n := range 60 {
		one.say(room, alice, fmt.Sprint("later ", n))
	}
	one.send(room, alice, "m.room.topic", new(""), object{"topic": "new"})
	two.join(room, bob, one)
	for range 5 {
		if !two.fill(room) {
			break
		}
	}
	theirs, ours := one.timeline(room), two.timeline(room)
	if len(theirs) != len(ours) {
		t.Fatalf("%d events, not %d", len(ours), len(theirs))
	}
	vis := two.visibility(room, bob)
	for i, e := range ours {
		if e.ID != theirs[i].ID {
			t.Fatalf("event %d is %s, not %s", i, e.JSON, theirs[i].JSON)
		}
		same(t, "the state at "+e.ID, two.stateBefore(e), one.stateBefore(theirs[i])...)
		if sees := vis.CanSee(e); sees == (e.ID == secret || e.Type == "m.room.topic" && i < 100) {
			t.Errorf("bob sees %s: %v", e.JSON, sees)
		}
	}
	if two.fill(room) {
		t.Error("there is still something to fill")
	}
	if e, err := two.rooms.EventByID(background(t), room, redacted); err != nil || e.RedactedBy == "" {
		t.Errorf("the redacted event: %v %v", e, err)
	}
}

func (h *hearth) redact(room, sender, id string) {
	h.t.Helper()
	if _, err := h.rooms.Send(background(h.t), roomserver.EventRequest{RoomID: room, Sender: sender, Type: "m.room.redaction", Redacts: id, Content: []byte("{}")}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hearth) visibility(room, user string) *roomserver.Visibility {
	h.t.Helper()
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		h.t.Fatal(err)
	}
	vis, err := h.rooms.Visibility(background(h.t), v, user)
	if err != nil {
		h.t.Fatal(err)
	}
	return vis
}

// stateBefore are the events of the state before an event.
func (h *hearth) stateBefore(e *storage.Event) []string {
	h.t.Helper()
	state, err := h.db.StateAt(background(h.t), e.SnapshotNID)
	if err != nil {
		h.t.Fatal(err)
	}
	var list []string
	for it := state.Iterator(); !it.Done(); {
		t, entry, _ := it.Next()
		list = append(list, fmt.Sprint(t.Type, t.StateKey, entry.EventID))
	}
	slices.Sort(list)
	return list
}

// TestBackfillAround has a room left and joined again: what happened meanwhile goes where
// it belongs. The server that made the room goes away; the others tell its past.
func TestBackfillAround(t *testing.T) {
	all := newHearths(t, 3, nil)
	one, two, three := all[0], all[1], all[2]
	for _, h := range all {
		h.startSending()
	}
	alice, bob, carol := one.user("alice"), two.user("bob"), three.user("carol")
	room := one.room("11")
	one.say(room, alice, "first")
	two.join(room, bob, one)
	two.say(room, bob, "second")
	eventually(t, "that alice hears bob", func() bool { return slices.Contains(one.heard(room), "second") })
	two.member(room, bob, "leave")
	eventually(t, "that alice sees bob leave", func() bool { return one.membership(room, bob) == "leave" })
	one.say(room, alice, "third")
	three.join(room, carol, one)
	two.join(room, bob, one)
	eventually(t, "that carol sees bob", func() bool { return three.membership(room, bob) == "join" })
	for two.fill(room) {
	}
	same(t, "what bob hears", two.heard(room), "first", "second", "third")
	one.api.StopSending()
	one.close()
	for range 5 {
		three.fill(room)
	}
	same(t, "what carol hears", three.heard(room), "first", "second", "third")
	two.close()
	if three.fill(room) {
		t.Error("nobody is there, and something is found")
	}
}
