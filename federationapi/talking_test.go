package federationapi

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/federationapi/client"
	"hearth/internal/todevice"
	"hearth/roomserver"
	"hearth/storage"
)

// typists remembers who is shown as typing.
type typists struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (ty *typists) show(_ int64, _, userID string, until time.Time) {
	ty.mu.Lock()
	defer ty.mu.Unlock()
	ty.seen[userID] = !until.IsZero()
}

func (ty *typists) types(userID string) bool {
	ty.mu.Lock()
	defer ty.mu.Unlock()
	return ty.seen[userID]
}

// met are two servers with a user each in a room, alice's.
func met(t *testing.T) (one, two *hearth, alice, bob, room string, typing *typists) {
	typing = &typists{seen: map[string]bool{}}
	all := newHearths(t, 2, func(_ int, _ *client.Options, o *Options) {
		o.PresenceEnabled, o.ShowTyping = true, typing.show
	})
	one, two = all[0], all[1]
	for _, h := range all {
		h.startSending()
	}
	alice, bob = one.user("alice"), two.user("bob")
	room = one.room("12")
	two.join(room, bob, one)
	eventually(t, "that alice sees bob", func() bool {
		v, err := one.rooms.View(background(t), room)
		return err == nil && v.Membership(bob) == "join"
	})
	return one, two, alice, bob, room, typing
}

func (h *hearth) append(c *storage.Change) {
	h.t.Helper()
	if err := h.db.Stream.Append(background(h.t), c); err != nil {
		h.t.Fatal(err)
	}
}

// device makes a user with a device.
func (h *hearth) device(userID, deviceID string) {
	h.t.Helper()
	if err := h.db.CreateUser(background(h.t), storage.User{ID: userID}); err != nil && !errors.Is(err, storage.ErrUserExists) {
		h.t.Fatal(err)
	}
	if _, err := h.db.CreateSession(background(h.t), userID, deviceID, "", storage.NewToken{Access: sha256.Sum256([]byte(userID + deviceID))}); err != nil {
		h.t.Fatal(err)
	}
}

// got are the messages to a device.
func (h *hearth) got(userID, deviceID string) (list []string) {
	h.t.Helper()
	messages, err := h.db.ListToDevice(background(h.t), userID, deviceID, 0, 1<<60, 10_000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, m := range messages {
		list = append(list, string(m.Content))
	}
	return list
}

// TestWhatIsNoEvent has what two people do besides speaking reach the other's server.
func TestWhatIsNoEvent(t *testing.T) {
	one, two, alice, bob, room, typing := met(t)
	ctx := background(t)
	two.api.Typing(ctx, room, bob, true)
	eventually(t, "that bob is seen typing by a server that was sent nothing yet", func() bool { return typing.types(bob) })
	one.say(room, alice, "hello")
	eventually(t, "that bob hears alice", func() bool { return len(two.heard(room)) == 1 })
	two.device(bob, "PHONE")
	two.device(bob, "LAPTOP")

	one.api.Typing(ctx, room, alice, true)
	eventually(t, "that alice is seen typing", func() bool { return typing.types(alice) })
	one.api.Typing(ctx, room, alice, false)
	eventually(t, "that alice is seen to cease", func() bool { return !typing.types(alice) })
	one.api.Typing(ctx, room, alice, true)
	eventually(t, "that alice is seen typing again", func() bool { return typing.types(alice) })

	v, err := two.rooms.View(ctx, room)
	if err != nil {
		t.Fatal(err)
	}
	newest := v.Room.ForwardExtremities[0]
	receipt := func(thread string) storage.Receipt {
		return storage.Receipt{RoomNID: v.Room.NID, RoomID: room, UserID: bob, Type: "m.read", ThreadID: thread, EventID: newest, EventPosition: 1, TS: 5}
	}
	two.append(&storage.Change{Receipts: []storage.Receipt{receipt(""), receipt("main"), receipt("$thread"),
		{RoomNID: v.Room.NID, RoomID: room, UserID: bob, Type: "m.read.private", EventID: newest}}})
	here, err := one.rooms.View(ctx, room)
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range []string{"", "main", "$thread"} {
		eventually(t, "that bob's receipt arrives", func() bool {
			r, err := one.db.UserReceipt(background(t), here.Room.NID, bob, "m.read", thread)
			return err == nil && r.EventID == newest && r.TS == 5
		})
	}
	if _, err := one.db.UserReceipt(ctx, here.Room.NID, bob, "m.read.private", ""); err == nil {
		t.Error("a private receipt was sent")
	}

	two.append(&storage.Change{Presence: []storage.Presence{{UserID: bob, State: "unavailable", StatusMsg: "at lunch", LastActiveTS: time.Now().UnixMilli()}}})
	eventually(t, "that bob is seen at lunch", func() bool {
		list, err := one.db.PresenceOf(background(t), two.name, 0, 1<<60, 10)
		return err == nil && len(list) == 1 && list[0].State == "unavailable" && list[0].StatusMsg == "at lunch"
	})

	message := func(body string) *storage.Change {
		content := map[string]map[string]json.RawMessage{bob: {"PHONE": json.RawMessage(`{"body":"` + body + `"}`)}}
		list, err := todevice.Remote(ctx, one.db, alice, "m.test", map[string]map[string]map[string]json.RawMessage{two.name: content})
		if err != nil {
			t.Fatal(err)
		}
		return &storage.Change{RemoteToDevice: list}
	}
	one.append(message("first"))
	eventually(t, "that bob's phone gets the message", func() bool { return len(two.got(bob, "PHONE")) == 1 })
	// What comes while nothing is sent is sent later, in order.
	one.api.StopSending()
	var later storage.Change
	for n := range 105 {
		later.RemoteToDevice = append(later.RemoteToDevice, message(fmt.Sprint("later ", n)).RemoteToDevice...)
	}
	one.append(&later)
	again := New(one.api.o)
	if err := again.StartSending(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.StopSending)
	eventually(t, "that all messages arrive", func() bool { return len(two.got(bob, "PHONE")) == 106 })
	for i, text := range two.got(bob, "PHONE")[1:] {
		if want := fmt.Sprintf(`{"content":{"body":"later %d"},"sender":%q,"type":"m.test"}`, i, alice); text != want {
			t.Fatalf("%s, not %s", text, want)
		}
	}
	eventually(t, "that none is kept", func() bool {
		n, err := one.db.CountRemoteToDevice(background(t), two.name, 1000)
		return err == nil && n == 0
	})
}

// TestForeignEDUs sends what a server may not: it is dropped, and what comes with it is
// taken, once.
func TestForeignEDUs(t *testing.T) {
	one, two, alice, bob, room, typing := met(t)
	two.device(bob, "PHONE")
	carol := "@carol:" + two.name
	v, err := two.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	newest := v.Room.ForwardExtremities[0]
	read := func(user, event string) object {
		return object{"edu_type": "m.receipt", "content": object{room: object{"m.read": object{user: object{"event_ids": []string{event}, "data": object{"ts": 1}}}}}}
	}
	toDevice := func(sender, id string) object {
		return object{"edu_type": "m.direct_to_device", "content": object{"sender": sender, "type": "m.test", "message_id": id,
			"messages": object{bob: object{"*": object{"id": id}}, alice: object{"*": object{}}}}}
	}
	edus := []any{
		"nonsense", object{}, object{"edu_type": "m.typing", "content": "x"}, object{"edu_type": "m.unknown", "content": object{}},
		object{"edu_type": "m.typing", "content": object{"room_id": room, "user_id": carol, "typing": true}},
		object{"edu_type": "m.typing", "content": object{"room_id": "!other:x", "user_id": alice, "typing": true}},
		object{"edu_type": "m.typing", "content": object{"room_id": room, "user_id": "@mallory:" + one.name, "typing": true}},
		read(carol, newest), read(bob, newest), read("@mallory:"+one.name, newest), read(alice, strings.Repeat("x", 300)), read(alice, "$unknown"),
		object{"edu_type": "m.presence", "content": object{"push": []object{{"user_id": bob, "presence": "online"}, {"user_id": alice, "presence": "busy"},
			{"user_id": "@mallory:" + one.name, "presence": "online"}, {"user_id": alice, "presence": "online", "last_active_ago": 3}}}},
		toDevice(bob, "1"), toDevice(alice, ""), toDevice(alice, "2"), toDevice(alice, "3"), toDevice(alice, "2"),
		object{"edu_type": "m.typing", "content": object{"room_id": room, "user_id": alice, "typing": true}},
	}
	for n := range 2 {
		if _, err := one.client.Do(background(t), client.Request{Method: "PUT", Server: two.name, URI: fmt.Sprintf("/_matrix/federation/v1/send/%d", n),
			Body: object{"edus": edus}}); err != nil {
			t.Fatal(err)
		}
	}
	if typing.types(carol) || typing.types("@mallory:"+one.name) || !typing.types(alice) {
		t.Errorf("typing: %v", typing.seen)
	}
	if got := two.got(bob, "PHONE"); len(got) != 2 || !strings.Contains(got[0], `"2"`) || !strings.Contains(got[1], `"3"`) {
		t.Errorf("messages: %v", got)
	}
	receipts, err := two.db.RoomReceipts(background(t), []int64{v.Room.NID}, 0)
	if err != nil || len(receipts[v.Room.NID]) != 1 || receipts[v.Room.NID][0].UserID != alice || receipts[v.Room.NID][0].EventID != "$unknown" {
		t.Errorf("receipts: %v %v", receipts, err)
	}
	if list, err := two.db.PresenceOf(background(t), one.name, 0, 1<<60, 10); err != nil || len(list) != 1 || list[0].UserID != alice {
		t.Errorf("presence: %v %v", list, err)
	}
	// The room's list bars the server, in whatever letters: nothing of it counts there.
	two.api.o.ShowTyping(0, "", alice, time.Time{})
	one.send(room, alice, "m.room.power_levels", new(""), object{"users": object{bob: 100}})
	eventually(t, "that bob may bar", func() bool {
		v, err := two.rooms.View(background(t), room)
		return err == nil && v.Room.ForwardExtremities[0] != newest
	})
	two.send(room, bob, "m.room.server_acl", new(""), object{"allow": []string{"LOCALHOST", "*:" + "x"}, "allow_ip_literals": true})
	if _, err := one.client.Do(background(t), client.Request{Method: "PUT", Server: two.name, URI: "/_matrix/federation/v1/send/barred", Body: object{"edus": edus}}); err != nil {
		t.Fatal(err)
	}
	if typing.types(alice) {
		t.Error("a server that is barred is seen typing")
	}
}

// TestUnreachableServers has a thousand servers that take connections and say nothing.
// They cost a bounded number of goroutines, and a server that answers is sent what there
// is as if they weren't there; none is forgotten.
func TestUnreachableServers(t *testing.T) {
	one, two, alice, _, room, _ := met(t)
	hole, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	_, port, _ := net.SplitHostPort(hole.Addr().String())
	const dead = 1000
	c := &storage.Change{}
	for n := range dead {
		c.RemoteToDevice = append(c.RemoteToDevice, storage.RemoteToDevice{Server: fmt.Sprintf("127.0.%d.%d:%s", 1+n/250, 1+n%250, port), Content: []byte(`{}`)})
	}
	before := runtime.NumGoroutine()
	one.append(c)
	for n := range 20 {
		one.say(room, alice, fmt.Sprint("word ", n))
	}
	eventually(t, "that the living hear everything", func() bool { return len(two.heard(room)) == 20 })
	if now := runtime.NumGoroutine(); now > before+64*8 {
		t.Errorf("%d goroutines, %d before", now, before)
	}
	cursors, err := one.db.FederationCursors(background(t))
	if err != nil || len(cursors) != dead+2 {
		t.Errorf("%d places are stored, %v", len(cursors), err)
	}
}

// TestRefusedPart has a server refuse for ever a single thing among many: the others
// arrive.
func TestRefusedPart(t *testing.T) {
	one, two, alice, bob, room, _ := met(t)
	two.device(bob, "PHONE")
	one.api.StopSending()
	var sent []string
	c := &storage.Change{}
	for n := range 9 {
		content := fmt.Sprintf(`{"sender":%q,"type":"m.test","message_id":"%d","messages":{%q:{"PHONE":{"n":%d}}}}`, alice, n, bob, n)
		if n == 4 {
			content = strings.Repeat("[", 200) + strings.Repeat("]", 200) // deeper than anybody takes
		} else {
			sent = append(sent, fmt.Sprintf(`{"content":{"n":%d},"sender":%q,"type":"m.test"}`, n, alice))
		}
		c.RemoteToDevice = append(c.RemoteToDevice, storage.RemoteToDevice{Server: two.name, Content: []byte(content)})
	}
	one.append(c)
	one.say(room, alice, "after all that")
	again := New(one.api.o)
	if err := again.StartSending(background(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.StopSending)
	eventually(t, "that the rest arrives", func() bool {
		return slices.Equal(two.got(bob, "PHONE"), sent) && slices.Contains(two.heard(room), "after all that")
	})
}

// TestLongOutage has so much happen while a server isn't sent anything that it gets only
// the last events of the rooms, and finds the others by them.
func TestLongOutage(t *testing.T) {
	one, two, alice, bob, room, _ := met(t)
	other := one.room("10")
	two.join(other, bob, one)
	one.api.StopSending()
	const said = 30
	for n := range said {
		one.say(room, alice, fmt.Sprint("word ", n))
		one.say(other, alice, fmt.Sprint("word ", n))
	}
	if _, err := one.rooms.SetMembership(background(t), roomserver.MembershipRequest{RoomID: other, Sender: alice, Target: bob, Membership: "leave"}); err != nil {
		t.Fatal(err)
	}
	one.say(other, alice, "without bob")
	again := New(one.api.o)
	again.sender.catchUp = 20
	if err := again.StartSending(background(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.StopSending)
	eventually(t, "that bob hears the last words", func() bool {
		return slices.Contains(two.heard(room), fmt.Sprint("word ", said-1))
	})
	eventually(t, "that bob sees himself put out", func() bool {
		v, err := two.rooms.View(background(t), other)
		return err == nil && v.Membership(bob) == "leave"
	})
	if slices.Contains(two.heard(other), "without bob") {
		t.Error("bob hears what was said without him")
	}
}
