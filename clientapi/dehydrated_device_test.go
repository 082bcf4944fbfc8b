package clientapi

import (
	"fmt"
	"testing"
)

// TestDehydratedDevice: while a user has no device a dehydrated one takes messages,
// until the next takes its place.
func TestDehydratedDevice(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	const path = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
	body := func(id string) object {
		return object{
			"device_id": id, "device_data": object{"algorithm": "m.dehydration.v2", "device_pickle": "p" + id, "nonce": "n"},
			"initial_device_display_name": "Sleeping", "device_keys": object{
				"user_id": "@alice:test.local", "device_id": id, "dehydrated": true, "algorithms": []string{"m.olm"},
				"keys": object{"ed25519:" + id: "k" + id}, "signatures": object{},
			},
			"one_time_keys": object{"signed_curve25519:one": object{"key": "one" + id}},
			"fallback_keys": object{"signed_curve25519:last": object{"key": "last" + id, "fallback": true}},
		}
	}
	w.refused(404, "M_NOT_FOUND", "GET", path, alice, nil)
	w.refused(404, "M_NOT_FOUND", "DELETE", path, alice, nil)
	w.refused(403, "M_FORBIDDEN", "GET", path+"/AAA/events", alice, nil)
	w.refused(400, "M_MISSING_PARAM", "PUT", path, alice, object{})
	w.refused(400, "M_INVALID_PARAM", "PUT", path, bob, body("AAA"))
	w.refused(400, "M_INVALID_PARAM", "PUT", path, alice, body("FIRST"))
	if got := w.ok("PUT", path, alice, body("AAA"))["device_id"]; got != "AAA" {
		t.Errorf("made %v", got)
	}
	w.refused(404, "M_NOT_FOUND", "GET", path, bob, nil)
	w.refused(403, "M_FORBIDDEN", "GET", path+"/AAA/events", bob, nil)
	if got := w.ok("GET", path, alice, nil); got["device_id"] != "AAA" || got["device_data"].(object)["device_pickle"] != "pAAA" {
		t.Errorf("kept: %v", got)
	}

	keys := func() object {
		all := w.ok("POST", "/keys/query", bob, object{"device_keys": object{"@alice:test.local": []string{}}})
		return all["device_keys"].(object)["@alice:test.local"].(object)
	}
	if got, _ := keys()["AAA"].(object); got["dehydrated"] != true {
		t.Errorf("its keys: %v", got)
	}
	claim := func(id string) string {
		got := w.ok("POST", "/keys/claim", bob, object{"one_time_keys": object{"@alice:test.local": object{id: "signed_curve25519"}}})
		return fmt.Sprint(got["one_time_keys"].(object)["@alice:test.local"])
	}
	for _, want := range []string{"map[AAA:map[signed_curve25519:one:map[key:oneAAA]]]", "map[AAA:map[signed_curve25519:last:map[fallback:true key:lastAAA]]]"} {
		if got := claim("AAA"); got != want {
			t.Errorf("claimed %s, want %s", got, want)
		}
	}

	const sent = maxDehydratedEvents + 1
	for i := range sent {
		w.ok("PUT", fmt.Sprintf("/sendToDevice/m.room.encrypted/%d", i), bob,
			object{"messages": object{"@alice:test.local": object{"AAA": object{"n": i}}}})
	}
	for _, method := range []string{"GET", "POST"} { // nothing is deleted: they can be read again
		n, next := 0, ""
		for {
			query, body := "", any(nil)
			if method == "POST" {
				body = object{"next_batch": next}
			} else if next != "" {
				query = "?next_batch=" + next
			}
			page := w.ok(method, path+"/AAA/events"+query, alice, body)
			events := page["events"].([]any)
			for _, e := range events {
				if got := e.(object); got["sender"] != "@bob:test.local" || got["content"].(object)["n"] != float64(n) {
					t.Fatalf("message %d is %v", n, got)
				}
				n++
			}
			if next = page["next_batch"].(string); len(events) == 0 {
				break
			}
		}
		if n != sent {
			t.Errorf("%s: %d messages, want %d", method, n, sent)
		}
	}
	w.refused(400, "M_INVALID_PARAM", "GET", path+"/AAA/events?next_batch=x", alice, nil)

	w.ok("PUT", path, alice, body("BBB"))
	w.refused(403, "M_FORBIDDEN", "GET", path+"/AAA/events", alice, nil)
	if got := w.ok("GET", path+"/BBB/events", alice, nil)["events"].([]any); len(got) != 0 {
		t.Errorf("the new one has %v", got)
	}
	if got := keys(); got["AAA"] != nil || got["BBB"] == nil {
		t.Errorf("the keys are those of %v", got)
	}
	w.ok("PUT", path, alice, body("BBB"))
	if got := w.ok("DELETE", path, alice, nil)["device_id"]; got != "BBB" {
		t.Errorf("deleted %v", got)
	}
	w.refused(404, "M_NOT_FOUND", "GET", path, alice, nil)
	if got := keys(); got["BBB"] != nil {
		t.Errorf("the keys are those of %v", got)
	}
}

// TestOneTimeKeysInOrder: whoever keeps only its newest keys finds that the older ones
// were handed out before them (MSC4225).
func TestOneTimeKeysInOrder(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	for _, id := range []string{"C", "A", "B"} {
		w.ok("POST", "/keys/upload", alice, object{"one_time_keys": object{"signed_curve25519:" + id: object{"key": id}}})
	}
	for _, want := range []string{"C", "A", "B"} {
		got := w.ok("POST", "/keys/claim", alice, object{"one_time_keys": object{"@alice:test.local": object{"FIRST": "signed_curve25519"}}})
		if device := got["one_time_keys"].(object)["@alice:test.local"].(object)["FIRST"].(object); device["signed_curve25519:"+want] == nil {
			t.Errorf("claimed %v, want %s", device, want)
		}
	}
}
