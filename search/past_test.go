package search

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"hearth/internal/testenv"
	"hearth/storage"
)

// past puts messages behind the one with an id, the newest first, as if another server had told of them.
func (w *world) past(before string, sub int32, more ...*storage.Event) {
	w.t.Helper()
	list, err := w.db.EventsByID(w.t.Context(), []string{before})
	if err != nil || len(list) != 1 {
		w.t.Fatal(list, err)
	}
	at := list[0]
	testenv.Exec(w.t, w.dsn, `INSERT INTO timeline_gaps (room_nid, position, snapshot_nid, visibility, missing) VALUES ($1, $2, $3, 'shared', '{}')
		ON CONFLICT DO NOTHING`, at.RoomNID, at.Position, at.SnapshotNID)
	gap := storage.Gap{RoomNID: at.RoomNID, Place: storage.Place{Position: at.Position, Sub: sub}, SnapshotNID: at.SnapshotNID, Visibility: "shared"}
	left := gap
	left.Missing = []string{"$older"}
	for _, e := range more {
		left.Sub--
		e.RoomNID, e.RoomID, e.SnapshotNID, e.Sender = at.RoomNID, at.RoomID, at.SnapshotNID, alice
		e.Place = storage.Place{Position: at.Position, Sub: left.Sub}
		if e.NID, err = w.db.NextNID(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		e.ID = fmt.Sprintf("$past%d", e.NID)
	}
	o := &storage.OldEvents{Gap: gap, Events: more, Left: &left}
	for _, e := range more {
		if e.Type == "m.room.redaction" {
			o.Redacted = []*storage.Event{{NID: w.redacted, RedactedBy: e.ID, JSON: []byte(`{"content":{}}`)}}
		}
	}
	if err := w.db.AddOldEvents(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func old(body string) *storage.Event {
	return &storage.Event{Type: "m.room.message", JSON: fmt.Appendf(nil, `{"content":{"body":%q,"msgtype":"m.text"},"sender":%q,"type":"m.room.message"}`, body, alice)}
}

// TestPast: what another server tells later of a room's past is found, where it belongs, page by page; and what it redacts is gone.
func TestPast(t *testing.T) {
	w := newWorld(t)
	room, nid := w.room()
	w.say(room, "ship first")
	xylophone, err := w.db.EventsByID(t.Context(), []string{w.say(room, "xylophone")})
	if err != nil {
		t.Fatal(err)
	}
	w.redacted = xylophone[0].NID
	middle := w.say(room, "ship middle")
	w.say(room, "ship last")
	w.flush()
	const n = maxBlock + 40
	want := []string{"ship last", "ship middle"}
	for from := 0; from < n; from += 70 {
		var list []*storage.Event
		for i := range 70 {
			list = append(list, old(fmt.Sprint("ship past ", from+i)))
			want = append(want, fmt.Sprint("ship past ", from+i))
		}
		w.past(middle, int32(-from), list...)
	}
	want = append(want, "ship first")
	later := w.say(room, "filler") // behind the index's end
	w.past(later, 0, old("walrus"))
	if err := w.index.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.index.indexPast(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.bodies(alice, "ship", nid); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("found are %d, want %d: %.200q", len(got), len(want), got)
	}
	if got := w.bodies(alice, "walrus", nid); len(got) != 1 {
		t.Errorf("behind the newest message is found %v", got)
	}
	if got := w.bodies(alice, "xylophone", nid); len(got) != 1 {
		t.Errorf("found is %v", got)
	}
	// From each place on the search finds what is older, each message once.
	for _, upTo := range []int{1, 2, 100, len(want) - 1} {
		r, err := w.index.Find(t.Context(), &Query{UserID: alice, Text: "ship", Keys: []string{"content.body"}, Rooms: []int64{nid},
			UpTo: storage.Place{Position: math.MaxInt64}})
		if err != nil {
			t.Fatal(err)
		}
		rest, err := w.index.Find(t.Context(), &Query{UserID: alice, Text: "ship", Keys: []string{"content.body"}, Rooms: []int64{nid}, UpTo: r.Found[upTo].Event.Place})
		if err != nil || len(rest.Found) != len(want)-upTo {
			t.Errorf("from the message %d on there are %d: %v", upTo, len(rest.Found), err)
		}
	}
	w.past(middle, -n, &storage.Event{Type: "m.room.redaction", JSON: fmt.Appendf(nil, `{"content":{},"redacts":%q,"type":"m.room.redaction"}`, xylophone[0].ID)})
	w.redacted = 0
	w.past(middle, -n-1, &storage.Event{Type: "m.room.redaction", JSON: []byte(`{"content":{},"redacts":"$x\u0000","type":"m.room.redaction"}`)})
	if err := w.index.indexPast(t.Context()); err != nil {
		t.Fatal(err)
	}
	q := &storage.SearchQuery{Query: "'xylophon'", Terms: []string{"xylophon"}, Prefix: []bool{false}, Rooms: []int64{nid}}
	if have, _, err := w.db.SearchBlocks(t.Context(), q, storage.Place{Position: math.MaxInt64}, 10); err != nil || len(have) != 0 {
		t.Errorf("the index has the words of what was redacted: %v %v", have, err)
	}
	if _, err := w.db.NextSearchPast(t.Context(), math.MaxInt64); err == nil {
		t.Error("something is still to be indexed")
	}
}
