package search

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"hearth/internal/testenv"
	"hearth/roomserver"
	"hearth/storage"
)

const alice, bob = "@alice:test.local", "@bob:test.local"

// world is a room server with rooms to search in.
type world struct {
	t     testing.TB
	dsn   string
	db    *storage.DB
	rooms *roomserver.Server
	index *Index
	// redacted is the number of the message that old redactions take back.
	redacted int64
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dsn: testenv.Database(t)}
	var err error
	if w.db, err = storage.Open(t.Context(), w.dsn, storage.Options{MaxConnections: 10}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.rooms = roomserver.New(roomserver.Options{DB: w.db, ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: key, CacheBytes: 16 << 20})
	w.open()
	t.Cleanup(func() { w.index.Stop() })
	return w
}

// open starts the index, which from then on indexes only when it is told to.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.index, err = New(w.t.Context(), Options{DB: w.db, Rooms: w.rooms}); err != nil {
		w.t.Fatal(err)
	}
	w.index.Stop()
}

func (w *world) room() (id string, nid int64) {
	w.t.Helper()
	id, err := w.rooms.CreateRoom(w.t.Context(), roomserver.CreateRoomRequest{Creator: alice, Preset: "public_chat", Name: "The harbour"})
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := w.rooms.View(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return id, v.Room.NID
}

func (w *world) send(room, sender, eventType string, content any) string {
	w.t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		w.t.Fatal(err)
	}
	r := roomserver.EventRequest{RoomID: room, Sender: sender, Type: eventType, Content: text}
	if eventType == "m.room.encryption" {
		r.StateKey = new("")
	}
	id, err := w.rooms.Send(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) say(room, body string) string {
	return w.send(room, alice, "m.room.message", map[string]string{"msgtype": "m.text", "body": body})
}

// bodies are what is found, the newest first.
func (w *world) bodies(user, text string, rooms ...int64) (list []string) {
	w.t.Helper()
	r, err := w.index.Find(w.t.Context(), &Query{UserID: user, Text: text, Keys: []string{"content.body", "content.name"}, Rooms: rooms,
		UpTo: storage.Place{Position: w.db.Stream.Position(), Sub: math.MaxInt32}})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range r.Found {
		var e struct{ Content struct{ Body, Name string } }
		if err := json.Unmarshal(f.Event.JSON, &e); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, e.Content.Body+e.Content.Name)
	}
	return list
}

// TestFind says things in several languages and finds them: before they are indexed,
// after, and over a restart in the middle.
func TestFind(t *testing.T) {
	w := newWorld(t)
	room, nid := w.room()
	other, _ := w.room()
	said := []string{"The ships were sailing at dawn", "今日は天気がいいですね", "Wir fahren übers MEER", "sailing is all about ships 🚢", "東京タワーに行きました"}
	for _, text := range said {
		w.say(room, text)
	}
	w.say(other, "a ship in a room that isn't searched")
	check := func(when string) {
		t.Helper()
		for text, want := range map[string][]string{
			"ship sail": {said[3], said[0]}, "SHIPS": {said[3], said[0]}, "天気": {said[1]}, "京": {said[4]}, "東京タワー": {said[4]}, "京東": nil,
			"ubers meer": {said[2]}, "🚢": {said[3]}, "dawn is": nil, "harbour": {"The harbour"}, "": nil, "'&|!<->\\:*": nil,
		} {
			if got := w.bodies(alice, text, nid); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %q finds %v, want %v", when, text, got, want)
			}
		}
		if got := w.bodies(bob, "ship", nid); got != nil {
			t.Errorf("%s: somebody who was never in the room finds %v", when, got)
		}
	}
	check("not indexed")
	w.flush()
	check("indexed")
	w.open()
	for i := range 2*maxBlock + 3 {
		w.say(room, fmt.Sprintf("filler %d", i))
	}
	w.catchUp()
	if p, err := w.db.SearchProgress(t.Context()); err != nil || p == 0 || p == w.db.Stream.Position() {
		t.Errorf("the index goes to %d: %v", p, err)
	}
	if got := w.bodies(alice, "filler", nid); len(got) != 2*maxBlock+3 || got[0] != fmt.Sprintf("filler %d", 2*maxBlock+2) || got[1] != fmt.Sprintf("filler %d", 2*maxBlock+1) {
		t.Errorf("%d fillers are found: %.3q", len(got), got)
	}
}

func (w *world) catchUp() {
	w.t.Helper()
	if err := w.index.catchUp(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// flush has the index hold everything, in a block that isn't full.
func (w *world) flush() {
	w.t.Helper()
	w.catchUp()
	if err := w.index.write(w.t.Context(), w.index.scanned); err != nil {
		w.t.Fatal(err)
	}
}

// TestRedactedIsGone redacts a message: neither it nor its words stay in the index. And
// a room that is encrypted isn't searched.
func TestRedactedIsGone(t *testing.T) {
	w := newWorld(t)
	room, nid := w.room()
	id := w.say(room, "xylophone")
	w.say(room, "kettledrum")
	w.flush()
	if _, err := w.rooms.Send(t.Context(), roomserver.EventRequest{RoomID: room, Sender: alice, Type: "m.room.redaction", Redacts: id, Content: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	if got := w.bodies(alice, "xylophone", nid); got != nil {
		t.Errorf("a redacted message is found: %v", got)
	}
	w.catchUp()
	q := &storage.SearchQuery{Query: "'xylophon'", Terms: []string{"xylophon"}, Prefix: []bool{false}, Rooms: []int64{nid}}
	if found, _, err := w.db.SearchBlocks(t.Context(), q, storage.Place{Position: math.MaxInt64}, 10); err != nil || len(found) > 0 {
		t.Errorf("the index has the words of a redacted message: %v %v", found, err)
	}
	if got := w.bodies(alice, "kettledrum", nid); len(got) != 1 {
		t.Errorf("its neighbour is gone as well: %v", got)
	}
	w.send(room, alice, "m.room.encryption", map[string]string{"algorithm": "m.megolm.v1.aes-sha2"})
	if got := w.bodies(alice, "kettledrum", nid); got != nil {
		t.Errorf("in an encrypted room is found %v", got)
	}
}

// TestIndexFollows: what is said is indexed without anybody asking.
func TestIndexFollows(t *testing.T) {
	w := newWorld(t)
	index, err := New(context.Background(), Options{DB: w.db, Rooms: w.rooms})
	if err != nil {
		t.Fatal(err)
	}
	defer index.Stop()
	room, _ := w.room()
	for i := range maxBlock + 1 {
		w.say(room, fmt.Sprintf("word %d", i))
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if p, err := w.db.SearchProgress(t.Context()); err != nil || p > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is indexed")
		}
	}
}
