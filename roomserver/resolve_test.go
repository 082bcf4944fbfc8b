package roomserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/storage"
)

// dave is a user of another server.
const dave = "@dave:other.local"

// forged is an event of another server's, which names as its predecessors and as what
// authorises it what it likes.
type forged struct {
	typ, key   string
	content    any
	prev, auth []string
	after      time.Duration // when it was made, from the test's beginning
}

var forgedSince = time.Now().Add(-time.Hour).Truncate(time.Second)

func forge(t *testing.T, s *Server, room string, f forged) gomatrixserverlib.PDU {
	t.Helper()
	v, err := s.View(t.Context(), room)
	if err != nil {
		t.Fatal(err)
	}
	version, err := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(v.Room.RoomVersion))
	if err != nil {
		t.Fatal(err)
	}
	proto := &gomatrixserverlib.ProtoEvent{SenderID: dave, RoomID: room, Type: f.typ, StateKey: &f.key,
		PrevEvents: f.prev, AuthEvents: f.auth, Depth: v.Room.Depth + 1}
	if err := proto.SetContent(f.content); err != nil {
		t.Fatal(err)
	}
	pdu, err := version.NewEventBuilderFromProtoEvent(proto).Build(forgedSince.Add(f.after), "other.local", "ed25519:a", testKey)
	if err != nil {
		t.Fatal(err)
	}
	return pdu
}

func setState(t *testing.T, s *Server, room, typ, content string) string {
	t.Helper()
	return send(t, s, EventRequest{RoomID: room, Sender: alice, Type: typ, StateKey: new(""), Content: []byte(content)})
}

// holder is the id of the event that holds a piece of the room's newest state.
func holder(t *testing.T, s *Server, room, typ, key string) string {
	t.Helper()
	v, err := s.View(t.Context(), room)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := v.Entry(typ, key)
	return e.EventID
}

// sharedRoom makes a room of alice's which dave has joined and in which he may change
// its state, and returns what authorises his events.
func sharedRoom(t *testing.T, s *Server, version string, power int) (room string, auth []string) {
	t.Helper()
	room = newRoom(t, s, version)
	if version != "12" {
		auth = append(auth, holder(t, s, room, "m.room.create", ""))
	}
	levels := fmt.Sprintf(`{"users":{"%s":100,"%s":%d}}`, alice, dave, power)
	if version == "12" {
		levels = fmt.Sprintf(`{"users":{"%s":%d}}`, dave, power)
	}
	joined := forge(t, s, room, forged{typ: "m.room.member", key: dave, content: map[string]any{"membership": "join"},
		prev: []string{holder(t, s, room, "m.room.join_rules", "")},
		auth: append(auth, holder(t, s, room, "m.room.power_levels", ""), holder(t, s, room, "m.room.join_rules", ""))})
	if err := s.Receive(t.Context(), joined); err != nil {
		t.Fatal(err)
	}
	return room, append(auth, joined.EventID(), setState(t, s, room, "m.room.power_levels", levels))
}

// TestForks takes rooms of every version since the second through forks: the state after
// them is that of the stronger or, among equals, of the later, and what somebody did
// whom a ban met meanwhile is undone.
func TestForks(t *testing.T) {
	s := open(t, dsn(t))
	for v := 2; v <= 12; v++ {
		version := fmt.Sprint(v)
		room, auth := sharedRoom(t, s, version, 100)
		fork := auth[len(auth)-1]
		setState(t, s, room, "m.room.join_rules", `{"join_rule":"invite"}`)
		ours := holder(t, s, room, "m.room.join_rules", "")
		theirs := forge(t, s, room, forged{typ: "m.room.join_rules", content: map[string]any{"join_rule": "private"}, prev: []string{fork}, auth: auth})
		if err := s.Receive(t.Context(), theirs); err != nil {
			t.Fatalf("version %s: %v", version, err)
		}
		// Until version 12 they are equals and alice's is newer; since then the weaker's comes last.
		want := ours
		if v == 12 {
			want = theirs.EventID()
		}
		if got := holder(t, s, room, "m.room.join_rules", ""); got != want {
			t.Fatalf("version %s: the join rules are %s, not %s (ours %s)", version, got, want, ours)
		}
		sameStateEverywhere(t, s, room)

		room, auth = sharedRoom(t, s, version, 50)
		fork = auth[len(auth)-1]
		named := setState(t, s, room, "m.room.name", `{"name":"Lab"}`)
		setMembership(t, s, room, alice, dave, "ban")
		for i, typ := range []string{"m.room.name", "m.room.topic"} {
			pdu := forge(t, s, room, forged{typ: typ, content: map[string]any{"name": "Mine", "topic": "Mine"}, prev: []string{fork}, auth: auth, after: time.Duration(i)})
			if err := s.Receive(t.Context(), pdu); err == nil {
				t.Fatalf("version %s: a banned user changed %s", version, typ)
			}
		}
		if holder(t, s, room, "m.room.name", "") != named || holder(t, s, room, "m.room.topic", "") != "" {
			t.Fatalf("version %s: what a banned user did stands", version)
		}
		sameStateEverywhere(t, s, room)
	}
}

// TestForkBehindBan has another server's state come in before the ban that undoes it.
func TestForkBehindBan(t *testing.T) {
	s := open(t, dsn(t))
	for _, version := range []string{"2", "10", "12"} {
		room, auth := sharedRoom(t, s, version, 50)
		fork := auth[len(auth)-1]
		topic := forge(t, s, room, forged{typ: "m.room.topic", content: map[string]any{"topic": "Mine"}, prev: []string{fork}, auth: auth})
		if err := s.Receive(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		if holder(t, s, room, "m.room.topic", "") != topic.EventID() {
			t.Fatalf("version %s: the topic isn't there", version)
		}
		v, err := s.View(t.Context(), room)
		if err != nil {
			t.Fatal(err)
		}
		before, err := s.db.EventsByID(t.Context(), []string{fork})
		if err != nil {
			t.Fatal(err)
		}
		state, err := s.StateAfter(t.Context(), before[0])
		if err != nil {
			t.Fatal(err)
		}
		setMembership(t, s, room, alice, dave, "ban")
		ban := holder(t, s, room, "m.room.member", dave)
		events, err := s.db.EventsByID(t.Context(), []string{ban})
		if err != nil {
			t.Fatal(err)
		}
		side := state.Set(storage.StateTuple{Type: "m.room.member", StateKey: dave}, entryOf(events[0]))
		for _, sets := range [][]storage.StateMap{{v.State, side}, {side, v.State}} {
			var resolved storage.StateMap
			err := s.change(t.Context(), room, func(b *builder) (err error) {
				resolved, err = b.resolve(sets)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			member, _ := resolved.Get(storage.StateTuple{Type: "m.room.member", StateKey: dave})
			if _, ok := resolved.Get(storage.StateTuple{Type: "m.room.topic"}); ok || member.EventID != ban {
				t.Fatalf("version %s: what a banned user did stands, or the ban doesn't", version)
			}
			if resolved.Len() != state.Len() {
				t.Fatalf("version %s: the state has %d entries, not %d", version, resolved.Len(), state.Len())
			}
		}
	}
}
