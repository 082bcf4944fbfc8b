package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// TestOutage has one of two servers be killed while people of the other go on, and then the
// other with what it hasn't sent: both times everything arrives, as soon as both are there.
func TestOutage(t *testing.T) {
	one, nameOne := federating(t)
	two, nameTwo := federating(t)
	if _, stderr, code := one.run(password+"\n", "create-user", "--config", one.config, "--username", "root", "--password-stdin", "--admin"); code != 0 {
		t.Fatal(stderr)
	}
	root, alice, bob := login(t, one.direct, "root", password), register(t, one.base, "alice"), register(t, two.base, "bob")
	room := alice.createRoom(t, map[string]any{"preset": "public_chat"})
	bob.ok(t, "POST", clientV3+"/join/"+url.PathEscape(room)+"?via="+nameOne, map[string]any{})
	bob.say(t, room, "here I am")
	alice.hear(t, room, "here I am")
	slip := func(word string) {
		alice.ok(t, "PUT", clientV3+"/sendToDevice/m.test/"+word, map[string]any{"messages": map[string]any{bob.id: map[string]any{"*": map[string]any{"word": word}}}})
	}
	slipped := func(word string) {
		t.Helper()
		waitFor(t, "bob's device is told "+word, func() bool { return strings.Contains(bob.sync(t, "", "").Get("to_device.events").Raw, `"`+word+`"`) })
	}

	two.kill()
	const missed = 20
	for n := range missed {
		alice.say(t, room, fmt.Sprint("missed ", n))
	}
	alice.setState(t, room, "m.room.topic", "", map[string]any{"topic": "bob is away"})
	slip("later")
	var status gjson.Result
	waitFor(t, "the dead server is left alone for a while", func() bool {
		status = root.ok(t, "GET", "/_synapse/admin/v1/federation/destinations/"+nameTwo, nil)
		return status.Get("state").Str == "failing" && status.Get("retry_interval").Int() > 5000
	})
	if status.Get("pending_events").Int() != missed+1 || status.Get("pending_to_device").Int() != 1 || status.Get("oldest_pending_ts").Int() == 0 {
		t.Errorf("what waits is %s", status.Raw)
	}
	out, _, code := one.run("", "federation", "explain", nameTwo, "--config", one.config)
	if code == 0 || !strings.Contains(out, fmt.Sprintf("%d events and 1 messages", missed+1)) || !strings.Contains(out, "times in a row") || !strings.Contains(out, "tried again") {
		t.Errorf("explaining a server that is away: status %d\n%s", code, out)
	}
	next := time.UnixMilli(status.Get("retry_last_ts").Int() + status.Get("retry_interval").Int())
	two.start()
	early := time.Until(next) > 3*time.Second // otherwise this machine is too slow to tell
	slipped("later")                          // first: hearing acknowledges what is for the device
	bob.hear(t, room, fmt.Sprint("missed ", missed-1))
	if early && time.Now().After(next) {
		t.Error("what was missed came only when it was due to be tried again")
	}
	waitFor(t, "bob sees the topic", func() bool {
		return bob.do(t, "GET", inRoom(room, "state/m.room.topic/"), nil).json().Get("topic").Str == "bob is away"
	})
	out, stderr, code := one.run("", "federation", "explain", nameTwo, "--config", one.config)
	if code != 0 || !strings.Contains(out, "takes what this server signs") || !strings.Contains(out, "No events and no messages") {
		t.Errorf("explaining a server that is back: status %d\n%s%s", code, out, stderr)
	}

	two.kill()
	alice.say(t, room, "unsent")
	slip("unsent")
	one.kill()
	two.start()
	one.start()
	slipped("unsent")
	bob.hear(t, room, "unsent")
	for n := range 3 {
		last := fmt.Sprint("last words ", n)
		alice.say(t, room, last)
		one.kill()
		one.start()
		bob.hear(t, room, last)
	}
}

// TestDatabaseOutage has a server's database be killed at the moment in which somebody of
// another server says something: it arrives all the same, though nothing is said after it.
func TestDatabaseOutage(t *testing.T) {
	one, nameOne := federating(t)
	two, _ := federating(t)
	alice, bob := register(t, one.base, "alice"), register(t, two.base, "bob")
	room := alice.createRoom(t, map[string]any{"preset": "public_chat"})
	bob.ok(t, "POST", clientV3+"/join/"+url.PathEscape(room)+"?via="+nameOne, map[string]any{})
	bob.say(t, room, "here I am")
	alice.hear(t, room, "here I am")
	for n := range 3 {
		word := fmt.Sprint("word ", n)
		two.killDatabase()
		alice.say(t, room, word)
		waitFor(t, "bob reads "+word, func() bool {
			return strings.Contains(string(bob.do(t, "GET", inRoom(room, "messages?dir=b&limit=3"), nil).body), `"`+word+`"`)
		})
	}
}

// TestRotateKey gives a server another key to sign with: somebody of another comes into a room that
// was made with the old one.
func TestRotateKey(t *testing.T) {
	one, nameOne := federating(t)
	two, _ := federating(t)
	alice, bob := register(t, one.base, "alice"), register(t, two.base, "bob")
	room := alice.createRoom(t, map[string]any{"preset": "public_chat"})
	keys := func() gjson.Result { return alice.ok(t, "GET", "/_matrix/key/v2/server", nil) }
	before := keys().Get("verify_keys").Map()
	out, stderr, code := one.run("", "federation", "rotate-key", "--config", one.config)
	if code != 0 {
		t.Fatalf("status %d: %s", code, stderr)
	}
	one.stop()
	one.start()
	after := keys()
	for id, key := range before {
		if after.Get("verify_keys").Map()[id].Exists() || after.Get("old_verify_keys").Map()[id].Get("key").Str != key.Get("key").Str {
			t.Errorf("%s of before is in %s", id, after)
		}
	}
	for id := range after.Get("verify_keys").Map() {
		if !strings.Contains(out, "The key is "+id+" now") {
			t.Errorf("signing with %s, said was: %s", id, out)
		}
	}
	bob.ok(t, "POST", clientV3+"/join/"+url.PathEscape(room)+"?via="+nameOne, map[string]any{})
	alice.say(t, room, "signed with the new key")
	bob.hear(t, room, "signed with the new key")
}
