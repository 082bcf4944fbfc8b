package federationapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/roomserver"
	"hearth/storage"
)

// keys gives a device keys and tells of it, as a client's upload does.
func (h *hearth) keys(userID, deviceID string) {
	h.t.Helper()
	text := fmt.Sprintf(`{"user_id":%q,"device_id":%q,"algorithms":[],"keys":{"curve25519:%s":"key of %s"},"signatures":{}}`, userID, deviceID, deviceID, deviceID)
	if _, err := h.db.SetDeviceKeys(background(h.t), storage.DeviceKeys{UserID: userID, DeviceID: deviceID, JSON: json.RawMessage(text)}); err != nil {
		h.t.Fatal(err)
	}
	h.append(&storage.Change{DeviceLists: []storage.DeviceListChange{{UserID: userID, DeviceID: deviceID, Announce: true}}})
}

// devices are a user's devices as the server answers its clients.
func (h *hearth) devices(userID string) (list []string, failed bool) {
	h.t.Helper()
	found, failures, err := h.api.QueryKeys(background(h.t), []string{userID}, 5*time.Second)
	if err != nil {
		h.t.Fatal(err)
	}
	for id := range found.Devices[userID] {
		list = append(list, id)
	}
	slices.Sort(list)
	return list, len(failures) > 0
}

// list is what the server knows of a user's devices without asking.
func (h *hearth) list(userID string) *storage.RemoteDeviceList {
	h.t.Helper()
	known, err := h.db.RemoteDeviceLists(background(h.t), []string{userID})
	if err != nil {
		h.t.Fatal(err)
	}
	return known[userID]
}

// changedSince reports whether clients are told to ask for a user's keys.
func (h *hearth) changedSince(p storage.Position, userID string) bool {
	h.t.Helper()
	users, err := h.db.DeviceListsChanged(background(h.t), p, 1<<60)
	return err == nil && slices.Contains(users, userID)
}

// TestDeviceLists follows the devices of a user of another server through logins and
// logouts, updates that are lost, an outage, and a parting.
func TestDeviceLists(t *testing.T) {
	one, two, alice, bob, room, _ := met(t)
	ctx := background(t)
	two.device(bob, "PHONE")
	two.keys(bob, "PHONE")
	eventually(t, "that one is swept", one.api.lists.swept.Load)
	if list, failed := one.devices(bob); !slices.Equal(list, []string{"PHONE"}) || failed {
		t.Fatalf("%v %v", list, failed)
	}
	has := func(want ...string) func() bool {
		return func() bool {
			l := one.list(bob)
			return l != nil && !l.Stale && len(l.Devices) == len(want) && !slices.ContainsFunc(want, func(id string) bool { return l.Devices[id] == nil })
		}
	}
	// The news of the phone may come while it is asked for, which is asked for again then.
	eventually(t, "that the list is kept", has("PHONE"))
	before := one.db.Stream.Position()
	two.device(bob, "LAPTOP")
	two.keys(bob, "LAPTOP")
	eventually(t, "that the laptop is known", has("LAPTOP", "PHONE"))
	eventually(t, "that clients are told of the laptop", func() bool { return one.changedSince(before, bob) })
	// From now on the list is followed without asking.
	asked := one.list(bob).CheckedAt
	two.device(bob, "TABLET")
	two.keys(bob, "TABLET")
	eventually(t, "that the tablet is known", has("LAPTOP", "PHONE", "TABLET"))
	if _, err := two.db.DeleteDevices(ctx, bob, []string{"PHONE"}); err != nil {
		t.Fatal(err)
	}
	gone, err := two.db.UnannouncedDevices(ctx, bob)
	if err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	two.append(&storage.Change{DeviceLists: gone})
	eventually(t, "that the phone is gone", has("LAPTOP", "TABLET"))
	if one.list(bob).CheckedAt != asked {
		t.Error("what came in order was asked for")
	}
	// An update that refers to one that never came, and one of somebody else's user.
	update := func(user string, id int) object {
		return object{"edu_type": "m.device_list_update", "content": object{"user_id": user, "device_id": "EVIL", "stream_id": id, "prev_id": []int{id - 1},
			"keys": object{"user_id": user, "device_id": "EVIL", "keys": object{}}}}
	}
	before = one.db.Stream.Position()
	if _, err := two.client.Do(ctx, client.Request{Method: "PUT", Server: one.name, URI: "/_matrix/federation/v1/send/gap",
		Body: object{"edus": []any{update(alice, 7), update("@nobody:"+two.name, 7), update(bob, 1_000_000)}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that the list is asked for", func() bool { return has("LAPTOP", "TABLET")() && one.list(bob).CheckedAt != asked })
	if !one.changedSince(before, bob) || one.changedSince(before, alice) {
		t.Error("clients are told of the wrong list")
	}
	// Stale while the server can't be asked: what is known is said with the failure, and
	// clients are told when it can.
	if _, err := one.db.MarkRemoteDevicesStale(ctx, []string{bob}); err != nil {
		t.Fatal(err)
	}
	before = one.db.Stream.Position()
	poke(one.api.lists.wake)
	eventually(t, "that the list is fresh again", has("LAPTOP", "TABLET"))
	if !one.changedSince(before, bob) {
		t.Error("clients aren't told of the outage's end")
	}
	// Who shares no room is forgotten: nobody says when their devices change.
	if _, err := one.rooms.SetMembership(ctx, roomserver.MembershipRequest{RoomID: room, Sender: alice, Target: bob, Membership: "leave"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that bob's devices are forgotten", func() bool { return one.list(bob) == nil })
	if list, failed := one.devices(bob); len(list) != 2 || failed || one.list(bob) != nil {
		t.Errorf("a stranger's devices: %v %v", list, failed)
	}
	if _, failures, err := one.api.QueryKeys(ctx, []string{"@x:127.0.0.1:1", bob}, 5*time.Second); err != nil || len(failures) != 1 || failures["127.0.0.1:1"] == nil {
		t.Errorf("failures: %v %v", failures, err)
	}
	if err := two.db.AddOneTimeKeys(ctx, bob, "LAPTOP", []storage.DeviceKey{{Algorithm: "signed_curve25519", KeyID: "A", JSON: json.RawMessage(`{"key":"x"}`)}}); err != nil {
		t.Fatal(err)
	}
	claim := map[string]map[string]string{bob: {"LAPTOP": "signed_curve25519"}, "@x:127.0.0.1:1": {"Y": "signed_curve25519"}}
	if claimed, failures := one.api.ClaimKeys(ctx, claim, 5*time.Second); len(claimed) != 1 || claimed[bob]["LAPTOP"] == nil || len(failures) != 1 {
		t.Errorf("%v %v", claimed, failures)
	}
}

// countUpdates counts how often a server is told of a device.
func (h *hearth) countUpdates(deviceID string) *atomic.Int32 {
	told := new(atomic.Int32)
	front := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			h.t.Error(err)
		}
		for _, e := range gjson.GetBytes(body, "edus").Array() {
			if e.Get("edu_type").Str == "m.device_list_update" && e.Get("content.device_id").Str == deviceID {
				told.Add(1)
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	}
	h.front.Store(&front)
	return told
}

// TestIntroduced tells the servers in a room of who comes into it, if they share no other with
// them, that there are devices.
func TestIntroduced(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	told := one.countUpdates("PHONE")
	bob := "@bob:" + two.name
	two.device(bob, "PHONE")
	two.keys(bob, "PHONE")
	two.startSending()
	two.join(one.room("12"), bob, one)
	eventually(t, "that one is told of bob's device", func() bool { return told.Load() > 0 })
	other := one.room("11")
	two.join(other, bob, one)
	two.say(other, bob, "I know you")
	eventually(t, "that bob is heard", func() bool { return len(one.heard(other)) == 1 })
	if n := told.Load(); n != 1 {
		t.Errorf("one was told %d times", n)
	}
}

// TestIntroducedWhenWhole introduces who joined a room without its members when these are known.
func TestIntroducedWhenWhole(t *testing.T) {
	all, room, bob, release := halfJoined(t, 2)
	one, two := all[0], all[1]
	two.device(bob, "PHONE")
	two.say(room, bob, "hello")
	eventually(t, "that bob is heard", func() bool { return len(one.heard(room)) == 1 })
	told := one.countUpdates("PHONE")
	release()
	if err := two.rooms.WaitForMembers(background(t), room); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that one is told of bob's device", func() bool { return told.Load() == 1 })
}

// TestOneListOfMany has a server that can't tell one of its users' devices: those of the others
// are had all the same.
func TestOneListOfMany(t *testing.T) {
	one, two, _, bob, room, _ := met(t)
	carol := two.user("carol")
	two.member(room, carol, "join")
	eventually(t, "that carol is seen", func() bool { return one.membership(room, carol) == "join" })
	for _, user := range []string{bob, carol} {
		two.device(user, "PHONE")
		two.keys(user, "PHONE")
	}
	eventually(t, "that one is swept", one.api.lists.swept.Load)
	for _, user := range []string{bob, carol} {
		eventually(t, "that the devices of "+user+" are known", func() bool {
			list, failed := one.devices(user)
			return len(list) == 1 && !failed && one.list(user) != nil && !one.list(user).Stale
		})
	}
	front := func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		if strings.HasSuffix(r.URL.Path, bob) {
			http.Error(w, `{"errcode":"M_UNKNOWN","error":"no"}`, http.StatusInternalServerError)
			return
		}
		server.ServeHTTP(w, r)
	}
	two.front.Store(&front)
	if _, err := one.db.MarkRemoteDevicesStale(background(t), []string{bob, carol}); err != nil {
		t.Fatal(err)
	}
	poke(one.api.lists.wake)
	eventually(t, "that carol's devices are known", func() bool { return !one.list(carol).Stale })
}
