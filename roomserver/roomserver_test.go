package roomserver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/testenv"
	"hearth/storage"
)

const alice, bob, carol = "@alice:test.local", "@bob:test.local", "@carol:test.local"

var testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func dsn(t testing.TB) string { return testenv.Database(t) }

// open starts a room server on the database, as one process would.
func open(t testing.TB, dsn string) *Server {
	t.Helper()
	db, err := storage.Open(t.Context(), dsn, storage.Options{MaxConnections: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return New(Options{DB: db, ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: testKey, CacheBytes: 64 << 20})
}

// newRoom makes a public room of alice's.
func newRoom(t testing.TB, s *Server, version string, more ...InitialEvent) string {
	t.Helper()
	levels := map[string]any{"users": map[string]any{alice: 100}}
	if version == "12" {
		levels = map[string]any{"users": map[string]any{}}
	}
	room, err := s.NewRoom(t.Context(), NewRoomRequest{Creator: alice, Version: version, Events: append([]InitialEvent{
		{"m.room.member", new(alice), map[string]any{"membership": "join"}},
		{"m.room.power_levels", new(""), levels},
		{"m.room.join_rules", new(""), map[string]any{"join_rule": "public"}},
	}, more...)})
	if err != nil {
		t.Fatal(err)
	}
	return room
}

func join(t testing.TB, s *Server, room, user string) {
	t.Helper()
	setMembership(t, s, room, user, user, "join")
}

func setMembership(t testing.TB, s *Server, room, sender, target, membership string) {
	t.Helper()
	_, err := s.SetMembership(t.Context(), MembershipRequest{RoomID: room, Sender: sender, Target: target, Membership: membership})
	if err != nil {
		t.Fatalf("%s to %s by %s: %v", membership, target, sender, err)
	}
}

func text(room, sender, body string) EventRequest {
	content, _ := json.Marshal(map[string]any{"msgtype": "m.text", "body": body})
	return EventRequest{RoomID: room, Sender: sender, Type: "m.room.message", Content: content}
}

func send(t testing.TB, s *Server, r EventRequest) string {
	t.Helper()
	id, err := s.Send(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// timeline returns the whole timeline, oldest first.
func timeline(t testing.TB, s *Server, room string) []*storage.Event {
	t.Helper()
	v, err := s.View(t.Context(), room)
	if err != nil {
		t.Fatal(err)
	}
	events, err := s.db.TimelineAfter(t.Context(), v.Room.NID, storage.Place{}, storage.Place{Position: 1 << 60}, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// TestRoomVersions takes a room of each version through a conversation with a
// redaction, and finds the state in memory, in current_state and in the snapshots
// to be the same.
func TestRoomVersions(t *testing.T) {
	s := open(t, dsn(t))
	for v := 1; v <= 12; v++ {
		room := newRoom(t, s, fmt.Sprint(v), InitialEvent{"m.room.name", new(""), map[string]any{"name": "Lab"}})
		join(t, s, room, bob)
		said := send(t, s, text(room, bob, "hello"))
		redaction := EventRequest{RoomID: room, Sender: bob, Type: "m.room.redaction", Redacts: said, Content: []byte(`{"reason":"typo"}`)}
		by := send(t, s, redaction)
		if _, err := s.Send(t.Context(), EventRequest{RoomID: room, Sender: carol, Type: "m.room.message", Content: []byte(`{}`)}); httpapi.CodeOf(err) != "M_FORBIDDEN" {
			t.Fatalf("version %d: a stranger's message: %v", v, err)
		}
		e, err := s.EventByID(t.Context(), room, said)
		if err != nil || e.RedactedBy != by || gjson.GetBytes(e.JSON, "content.body").Exists() {
			t.Fatalf("version %d: redacted event %+v, %v", v, e, err)
		}
		related, err := s.Related(t.Context(), []*storage.Event{e})
		if err != nil {
			t.Fatal(err)
		}
		shown := AppendClientEvent(nil, e, related, Reader{UserID: bob, Now: time.Now().UnixMilli()})
		if gjson.GetBytes(shown, "unsigned.redacted_because.content.redacts").Str != said {
			t.Fatalf("version %d: shown as %s", v, shown)
		}
		sameStateEverywhere(t, s, room)
	}
}

func sameStateEverywhere(t *testing.T, s *Server, room string) {
	t.Helper()
	v, err := s.View(t.Context(), room)
	if err != nil {
		t.Fatal(err)
	}
	current, err := s.db.CurrentState(t.Context(), v.Room.NID)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := s.db.StateAt(t.Context(), v.Room.SnapshotNID)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]storage.StateMap{"current_state": current, "snapshot": snapshot} {
		if m.Len() != v.State.Len() {
			t.Fatalf("%s has %d entries, memory %d", name, m.Len(), v.State.Len())
		}
		for it := v.State.Iterator(); !it.Done(); {
			tuple, entry, _ := it.Next()
			if got, _ := m.Get(tuple); got != entry {
				t.Fatalf("%s has %+v for %v, memory %+v", name, got, tuple, entry)
			}
		}
	}
}

// TestSnapshotChain changes state a few hundred times, over restarts, and checks
// that every event's snapshot is the state that was there before it.
func TestSnapshotChain(t *testing.T) {
	database := dsn(t)
	s := open(t, database)
	room := newRoom(t, s, "12")
	for i := range 300 {
		if i%97 == 0 {
			s = open(t, database)
		}
		r := EventRequest{RoomID: room, Sender: alice, Type: "org.example.n", StateKey: new(fmt.Sprint(i % 17)),
			Content: fmt.Appendf(nil, `{"n":%d}`, i)}
		send(t, s, r)
	}
	state := map[storage.StateTuple]int64{}
	for _, e := range timeline(t, s, room) {
		if e.Depth%29 == 0 {
			before, err := s.db.StateAt(t.Context(), e.SnapshotNID)
			if err != nil {
				t.Fatal(err)
			}
			if before.Len() != len(state) {
				t.Fatalf("%d entries before depth %d, want %d", before.Len(), e.Depth, len(state))
			}
			for tuple, nid := range state {
				if got, _ := before.Get(tuple); got.EventNID != nid {
					t.Fatalf("before depth %d %v is %d, want %d", e.Depth, tuple, got.EventNID, nid)
				}
			}
		}
		if e.IsState() {
			state[storage.StateTuple{Type: e.Type, StateKey: *e.StateKey}] = e.NID
		}
	}
	v, _ := s.View(t.Context(), room)
	chain, err := s.db.SnapshotChain(t.Context(), v.Room.SnapshotNID)
	if err != nil || len(chain) > 10 {
		t.Fatalf("%d rows to read the newest of about 300 snapshots, %v", len(chain), err)
	}
	sameStateEverywhere(t, s, room)
}

// TestTransactionIDs repeats a request at once, later, and after a restart, and
// always gets the first one's event.
func TestTransactionIDs(t *testing.T) {
	database := dsn(t)
	s := open(t, database)
	room := newRoom(t, s, "12")
	r := text(room, alice, "once")
	r.DeviceID, r.TxnID, r.Endpoint = "PHONE", "t1", "send"
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() { ids[i], _ = s.Send(context.Background(), r) })
	}
	wg.Wait()
	again := open(t, database)
	// Others are sending while the repeated request spoils its batch.
	for i := range 20 {
		wg.Go(func() { _, _ = again.Send(context.Background(), text(room, alice, fmt.Sprint("other ", i))) })
	}
	ids = append(ids, send(t, again, r))
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatalf("the same transaction made %v", ids)
		}
	}
	r.DeviceID = "LAPTOP"
	if send(t, again, r) == ids[0] {
		t.Fatal("another device's transaction was taken for the first's")
	}
	if n := len(timeline(t, again, room)); n != 4+1+20+1 {
		t.Fatalf("%d events in the timeline", n)
	}
}

// TestTwoProcesses has two servers on one database send into one room at once:
// each is overtaken again and again, nothing is lost, and the timeline is a chain.
func TestTwoProcesses(t *testing.T) {
	database := dsn(t)
	servers := []*Server{open(t, database), open(t, database)}
	room := newRoom(t, servers[0], "12")
	join(t, servers[1], room, bob)
	sent := make(chan string, 200)
	var wg sync.WaitGroup
	for i, s := range servers {
		for range 4 {
			wg.Go(func() {
				for n := range 15 {
					id, err := s.Send(context.Background(), text(room, []string{alice, bob}[i], fmt.Sprint(n)))
					var refused *httpapi.Error
					if errors.As(err, &refused) && refused.RetryAfter > 0 {
						continue // overtaken too often: told to try again
					}
					if err != nil {
						t.Error(err)
						return
					}
					sent <- id
				}
			})
		}
	}
	wg.Wait()
	close(sent)
	events := timeline(t, servers[0], room)
	place := map[string]int{}
	for i, e := range events {
		place[e.ID] = i
		if i > 0 && gjson.GetBytes(e.JSON, "prev_events.0").Str != events[i-1].ID {
			t.Fatalf("event %d doesn't follow the one before it", i)
		}
	}
	for id := range sent {
		if _, ok := place[id]; !ok {
			t.Fatalf("%s was acknowledged and isn't there", id)
		}
	}
}

// TestVisibility asks what each of several people may see under each setting.
func TestVisibility(t *testing.T) {
	for setting, want := range map[string]string{
		// what bob, who was invited, joined and left, sees of: before the invitation,
		// while invited, while joined, after leaving; then a stranger's view of one
		"world_readable": "1111 1",
		"shared":         "1110 0",
		"invited":        "0110 0",
		"joined":         "0010 0",
	} {
		s := open(t, dsn(t))
		room := newRoom(t, s, "12", InitialEvent{"m.room.history_visibility", new(""), map[string]any{"history_visibility": setting}})
		ids := []string{send(t, s, text(room, alice, "before"))}
		setMembership(t, s, room, alice, bob, "invite")
		ids = append(ids, send(t, s, text(room, alice, "invited")))
		join(t, s, room, bob)
		ids = append(ids, send(t, s, text(room, alice, "joined")))
		setMembership(t, s, room, bob, bob, "leave")
		ids = append(ids, send(t, s, text(room, alice, "left")))
		v, err := s.View(t.Context(), room)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, user := range []string{bob, carol} {
			vis, err := s.Visibility(t.Context(), v, user)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				e, err := s.EventByID(t.Context(), room, id)
				if err != nil {
					t.Fatal(err)
				}
				got += map[bool]string{true: "1", false: "0"}[vis.CanSee(e)]
			}
		}
		if got = got[:4] + " " + got[4:5]; got != want {
			t.Errorf("%s: bob and a stranger see %s, want %s", setting, got, want)
		}
	}
}

// BenchmarkSend has 32 senders, each in a room of its own.
func BenchmarkSend(b *testing.B) {
	s := open(b, dsn(b))
	var rooms []string
	for range 32 {
		rooms = append(rooms, newRoom(b, s, "12"))
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, room := range rooms {
		wg.Go(func() {
			for i := range (b.N + 31) / 32 {
				r := text(room, alice, "a plain message of about a hundred bytes, as people send them to one another all day long")
				r.DeviceID, r.TxnID, r.Endpoint = "D", fmt.Sprint(i), "send"
				if _, err := s.Send(context.Background(), r); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
