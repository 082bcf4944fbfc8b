package syncapi

import (
	"context"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/testenv"
	"hearth/roomserver"
	"hearth/storage"
)

// farRoom is a room of another server's, of ann and ben, and what alice of this one needs to
// join it.
type farRoom struct {
	t              *testing.T
	rooms          *roomserver.Server
	id             string
	join           gomatrixserverlib.PDU
	state, members []gomatrixserverlib.PDU
	ids            []string
}

func newFarRoom(t *testing.T, w *world) *farRoom {
	t.Helper()
	_, key, _ := ed25519.GenerateKey(nil) // never fails with the system's randomness
	f := &farRoom{t: t, rooms: roomserver.New(roomserver.Options{DB: testenv.Open(t), ServerName: "far.test", KeyID: "ed25519:f", PrivateKey: key, CacheBytes: 1 << 20})}
	ctx := context.Background()
	member := func(name string) roomserver.MembershipRequest {
		return roomserver.MembershipRequest{RoomID: f.id, Sender: name, Target: name, Membership: "join"}
	}
	var err error
	if f.id, err = f.rooms.CreateRoom(ctx, roomserver.CreateRoomRequest{Creator: "@ann:far.test", Version: "10", Preset: "public_chat", Name: "Far"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.rooms.SetMembership(ctx, member("@ben:far.test")); err != nil {
		t.Fatal(err)
	}
	v, err := f.rooms.View(ctx, f.id)
	if err != nil {
		t.Fatal(err)
	}
	for it := v.State.Iterator(); !it.Done(); {
		tuple, e, _ := it.Next()
		f.ids = append(f.ids, e.EventID)
		if pdu := f.event(e.EventID); tuple.Type == "m.room.member" {
			f.members = append(f.members, pdu)
		} else {
			f.state = append(f.state, pdu)
		}
	}
	version, proto, err := f.rooms.MembershipTemplate(ctx, member(id("alice")))
	if err != nil {
		t.Fatal(err)
	}
	if f.join, err = w.rooms.SignTemplate(version, proto); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *farRoom) event(eventID string) gomatrixserverlib.PDU {
	f.t.Helper()
	e, err := f.rooms.EventByID(context.Background(), f.id, eventID)
	if err != nil {
		f.t.Fatal(err)
	}
	pdu, err := gomatrixserverlib.MustGetRoomVersion("10").NewEventFromTrustedJSON(e.JSON, false)
	if err != nil {
		f.t.Fatal(err)
	}
	return pdu
}

// TestPartialRoom has alice join a room whose members come later. A client that loads members
// lazily shows it at once, another when they are there.
func TestPartialRoom(t *testing.T) {
	w := newWorld(t)
	f := newFarRoom(t, w)
	ctx := context.Background()
	eager, lazy := w.client("alice"), &client{w: w, name: "alice", token: "alice/TABLET"}
	lazy.filter = `{"room":{"state":{"lazy_load_members":true}}}`
	eager.sync(0)
	lazy.sync(0)
	all, some := w.slider("alice"), w.slider("alice")
	all.conn, all.lists = "all", window(10, 10, `[["m.room.member","*"]]`)
	some.conn, some.lists = "some", window(10, 10, `[["m.room.member","$LAZY"],["m.room.name",""]]`)
	all.extensions, some.extensions = `{"receipts":{"enabled":true},"account_data":{"enabled":true},"typing":{"enabled":true}}`, `{}`
	all.sync(0)
	some.sync(0)
	err := w.rooms.Import(ctx, roomserver.Import{RoomID: f.id, Version: "10", Join: f.join, State: f.state, Auth: f.members[:1],
		Partial: &storage.Partial{JoinID: f.join.EventID(), Via: "far.test", Servers: []string{"far.test"}}})
	if err != nil {
		t.Fatal(err)
	}
	if room := joined(lazy.sync(0), f.id); bodies(room) != "@alice:join" || stateOf(room, "state")["m.room.name|"] == "" {
		t.Errorf("a client that loads members lazily is shown %s", room.Raw)
	}
	if room := joined(eager.sync(0), f.id); room.Exists() {
		t.Errorf("a client that wants all members is shown %s", room.Raw)
	}
	if room := slid(some.sync(0), f.id); spoken(room) != "@alice:join" || !strings.Contains(required(room), "name") {
		t.Errorf("one with sliding sync that loads members lazily is shown %s", room.Raw)
	}
	if answer := all.sync(0); strings.Contains(answer.Raw, f.id) {
		t.Errorf("one with sliding sync that wants all members is shown %s", answer.Raw)
	}
	// The far server learns of alice and goes on; one message is enough.
	if err := f.rooms.Receive(ctx, f.join); err != nil {
		t.Fatal(err)
	}
	said, err := f.rooms.Send(ctx, roomserver.EventRequest{RoomID: f.id, Sender: "@ann:far.test", Type: "m.room.message", Content: []byte(`{"body":"hello","msgtype":"m.text"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.rooms.AddOutliers(ctx, f.id, f.members); err != nil { // as far as they authorise anything
		t.Fatal(err)
	}
	if err := w.rooms.Receive(ctx, f.event(said)); err != nil {
		t.Fatal(err)
	}
	if room := joined(lazy.sync(0), f.id); bodies(room) != "hello" || stateOf(room, "state")["m.room.member|@ann:far.test"] == "" {
		t.Errorf("after a message a client that loads members lazily is shown %s", room.Raw)
	}
	if answer := eager.sync(0); joined(answer, f.id).Exists() {
		t.Errorf("after a message a client that wants all members is shown %s", answer.Raw)
	}
	if room := slid(some.sync(0), f.id); spoken(room) != "hello" || required(room) != "@ann:join" {
		t.Errorf("after a message, sliding sync shows %s", room.Raw)
	}
	if answer := all.sync(0); strings.Contains(answer.Raw, f.id) {
		t.Errorf("after a message, sliding sync with all members shows %s", answer.Raw)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		if err := w.rooms.Complete(ctx, f.id, f.join.EventID(), []roomserver.Told{{State: f.ids}}); err != nil {
			t.Error(err)
		}
	}()
	room := joined(eager.sync(20*time.Second), f.id)
	state := stateOf(room, "state")
	if bodies(room) != "@alice:join hello" || state["m.room.member|@ann:far.test"] == "" || state["m.room.member|@ben:far.test"] == "" {
		t.Errorf("when all members are known, a client that wants them is shown %s", room.Raw)
	}
	room = slid(all.sync(0), f.id)
	if spoken(room) != "@alice:join hello" || room.Get("initial").Bool() != true || room.Get("joined_count").Int() != 3 || len(room.Get("required_state").Array()) != 3 {
		t.Errorf("when all members are known, sliding sync with all members shows %s", room.Raw)
	}
	room = slid(some.sync(0), f.id)
	if spoken(room) != "" || room.Get("joined_count").Int() != 3 || required(room) != "" || room.Get("initial").Exists() {
		t.Errorf("when all members are known, sliding sync with some shows %s", room.Raw)
	}
	room = joined(lazy.sync(0), f.id)
	if room.Get(`summary.m\.joined_member_count`).Int() != 3 || bodies(room) != "" || len(stateOf(room, "state")) != 0 {
		t.Errorf("when all members are known, one that loads them lazily is shown %s", room.Raw)
	}
}
