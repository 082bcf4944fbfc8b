package syncapi

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// TestNewcomers: who comes into sight comes with their presence, and their devices are to
// be asked for, in rooms without encryption too; who goes out of sight is named.
func TestNewcomers(t *testing.T) {
	w := newWorld(t)
	alice := w.client("alice")
	w.client("bob").sync(0)
	w.client("carol").sync(0)
	hers, his := w.newRoom("alice"), w.newRoom("bob")
	alice.sync(0)
	seen := func(answer gjson.Result) string {
		var online []string
		for _, e := range answer.Get("presence.events").Array() {
			if e.Get("sender").Str != id("alice") {
				online = append(online, strings.TrimSuffix(e.Get("sender").Str, ":test.local"))
			}
		}
		return lists(answer.Get("device_lists")) + ", online " + strings.Join(online, " ")
	}
	w.join(hers, "carol")
	want(t, "carol joins", seen(alice.sync(0)), "changed @carol left, online @carol")
	w.join(his, "alice")
	want(t, "alice joins bob", seen(alice.sync(0)), "changed @bob left, online @bob")
	w.say(his, "bob", "hello")
	want(t, "nothing of that is news", seen(alice.sync(0)), "changed left, online ")
	w.membership(hers, "carol", "carol", "leave")
	want(t, "carol leaves", seen(alice.sync(0)), "changed left @carol, online ")
	w.membership(his, "alice", "alice", "leave")
	want(t, "alice leaves", seen(alice.sync(0)), "changed left @bob, online ")
}
