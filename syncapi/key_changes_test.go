package syncapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
	"hearth/storage"
)

// lists writes device lists as "changed … left …", without the server's name.
func lists(v gjson.Result) string {
	text := "changed"
	for _, id := range v.Get("changed").Array() {
		text += " " + id.Str
	}
	text += " left"
	for _, id := range v.Get("left").Array() {
		text += " " + id.Str
	}
	return strings.ReplaceAll(text, ":test.local", "")
}

// newKeys says that a user's devices have changed.
func (w *world) newKeys(name string) {
	w.t.Helper()
	change := &storage.Change{DeviceLists: []storage.DeviceListChange{{UserID: id(name)}}}
	if err := w.db.Stream.Append(context.Background(), change); err != nil {
		w.t.Fatal(err)
	}
}

// TestDeviceListsAreExact: who has to be asked for keys again, told step by step, at once
// after all steps, and by /keys/changes, before and after a restart.
func TestDeviceListsAreExact(t *testing.T) {
	w := newWorld(t)
	encryption := roomserver.InitialEvent{Type: "m.room.encryption", StateKey: new(""), Content: map[string]any{"algorithm": "m.megolm.v1.aes-sha2"}}
	secret, other := w.newRoom("bob", encryption), w.newRoom("carol", encryption)
	w.newRoom("dave") // shared with nobody
	w.join(secret, "alice")
	alice := w.client("alice")
	alice.filter = `{"room":{"timeline":{"limit":1}}}`
	alice.sync(0)
	start := alice.since

	var behind []*client
	step := func(want string, do func()) {
		t.Helper()
		late := *alice
		behind = append(behind, &late)
		do()
		// More than the timeline shows, so that it is limited.
		for i := range 3 {
			w.event(secret, "alice", "m.room.message", nil, map[string]any{"msgtype": "m.text", "body": fmt.Sprint(i)})
		}
		if got := lists(alice.sync(0).Get("device_lists")); got != want {
			t.Errorf("/sync says %q, want %q", got, want)
		}
	}
	step("changed @bob left", func() { w.newKeys("bob") })
	step("changed left", func() { w.newKeys("dave") })
	step("changed @carol left", func() { w.join(secret, "carol") })
	step("changed @alice @carol left", func() { w.join(other, "alice"); w.newKeys("dave") })
	step("changed left", func() { w.membership(secret, "carol", "carol", "leave") })
	step("changed left @carol", func() { w.membership(other, "alice", "alice", "leave") })
	step("changed @alice left", func() { w.newKeys("alice") })
	step("changed left @bob", func() {
		w.membership(secret, "bob", "bob", "leave")
		w.join(secret, "bob")
		w.membership(secret, "bob", "bob", "leave")
	})

	w = w.restart()
	for i, c := range behind {
		c.w = w
		from, to := c.since, alice.since
		whole := lists(c.sync(0).Get("device_lists"))
		asked := lists(w.ok("GET", "/keys/changes?from="+from+"&to="+to, c.token, nil))
		if whole != asked {
			t.Errorf("from step %d on, /sync says %q and /keys/changes %q", i, whole, asked)
		}
	}
	if got := lists(w.ok("GET", "/keys/changes?from="+start+"&to="+alice.since, "alice/PHONE", nil)); got != "changed @alice left @bob" {
		t.Errorf("all together is %q", got)
	}
	for _, query := range []string{"", "?from=" + start, "?from=x&to=" + start, "?from=" + start + "&to=s999999999"} {
		if status, answer := w.do("GET", "/keys/changes"+query, "alice/PHONE", nil); status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", query, status, answer.Raw)
		}
	}
}

// TestSightIsOfWhoWasThere: who isn't in a room learns nothing of its members, an invitation
// isn't a departure, a new name isn't a new member, and a filter doesn't hide whom the user sees.
func TestSightIsOfWhoWasThere(t *testing.T) {
	w := newWorld(t)
	encryption := roomserver.InitialEvent{Type: "m.room.encryption", StateKey: new(""), Content: map[string]any{"algorithm": "m.megolm.v1.aes-sha2"}}
	secret, hers := w.newRoom("bob", encryption), w.newRoom("alice", encryption)
	alice, elsewhere := w.client("alice"), w.client("alice")
	elsewhere.filter = `{"room":{"rooms":[]}}`
	sliding := w.slider("alice")
	sliding.extensions = `{"e2ee":{"enabled":true}}`
	alice.sync(0)
	elsewhere.sync(0)
	sliding.sync(0)
	step := func(name, want string, do func()) {
		t.Helper()
		do()
		for how, got := range map[string]gjson.Result{"/sync": alice.sync(0).Get("device_lists"), "a sync of no rooms": elsewhere.sync(0).Get("device_lists"),
			"sliding sync": sliding.sync(0).Get("extensions.e2ee.device_lists")} {
			if got := strings.Replace(lists(got), " @alice", "", 1); got != want { // her own other devices are no matter
				t.Errorf("%s: %s says %q, want %q", name, how, got, want)
			}
		}
	}
	step("an invitation is declined", "changed left", func() {
		w.membership(secret, "bob", "alice", "invite")
		w.membership(secret, "alice", "alice", "leave")
	})
	step("a ban", "changed left", func() {
		w.membership(secret, "bob", "alice", "ban")
		w.membership(secret, "bob", "alice", "leave")
	})
	step("an invitation", "changed left", func() { w.membership(hers, "alice", "carol", "invite") })
	step("carol comes", "changed @carol left", func() { w.join(hers, "carol") })
	step("alice comes", "changed @bob left", func() { w.join(secret, "alice") })
	step("bob goes first, and dave comes after alice", "changed left @bob", func() {
		w.membership(secret, "bob", "bob", "leave")
		w.membership(secret, "alice", "alice", "leave")
		w.join(secret, "dave")
	})
	alice.sync(0)
	w.rename(hers, "carol", "Caroline")
	if got := lists(alice.sync(0).Get("device_lists")); got != "changed left" {
		t.Errorf("carol is called otherwise: %q", got)
	}
	w.membership(hers, "carol", "carol", "leave")
	w.join(hers, "carol")
	w.rename(hers, "carol", "C")
	if got := lists(alice.sync(0).Get("device_lists")); got != "changed @carol left" {
		t.Errorf("carol was away: %q", got)
	}
}
