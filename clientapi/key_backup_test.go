package clientapi

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

func backupKey(first, forwarded int, verified bool, data string) object {
	return object{"first_message_index": first, "forwarded_count": forwarded, "is_verified": verified, "session_data": object{"ciphertext": data}}
}

// TestKeyBackup: a user backs keys up, better keys replace worse ones, another version
// takes the place of the first.
func TestKeyBackup(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	const versions, keys = "/room_keys/version", "/room_keys/keys"
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", versions, alice, nil)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "PUT", keys+"?version=1", alice, object{"rooms": object{}})
	info := object{"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": object{"public_key": "abc"}}
	w.refused(http.StatusBadRequest, "M_MISSING_PARAM", "POST", versions, alice, object{"algorithm": "x"})
	v := w.ok("POST", versions, alice, info)["version"].(string)
	if b := w.ok("GET", versions, alice, nil); b["version"] != v || b["count"] != 0.0 || b["etag"] != "0" {
		t.Errorf("a new backup is %v", b)
	}

	// Many rooms, one room, one session.
	w.ok("PUT", keys+"?version="+v, alice, object{"rooms": object{
		"!a": object{"sessions": object{"1": backupKey(5, 2, false, "first"), "2": backupKey(0, 0, true, "second")}},
		"!b": object{"sessions": object{"1": backupKey(0, 0, false, "third")}}}})
	w.ok("PUT", keys+"/!b?version="+v, alice, object{"sessions": object{"2": backupKey(0, 0, false, "fourth")}})
	count := w.ok("PUT", keys+"/!c/1?version="+v, alice, backupKey(0, 0, false, "fifth"))
	if count["count"] != 5.0 || count["etag"] != "3" {
		t.Errorf("after three uploads: %v", count)
	}

	// Which key is better.
	for _, c := range []struct {
		first, forwarded int
		verified, wins   bool
	}{
		{5, 2, false, false}, {6, 0, false, false}, {5, 3, false, false}, {5, 1, false, true}, {4, 9, false, true},
		{9, 9, true, true}, {0, 0, false, false}, {9, 8, true, true},
	} {
		before := w.ok("GET", versions, alice, nil)["etag"]
		name := fmt.Sprint(c)
		count := w.ok("PUT", keys+"/!a/1?version="+v, alice, backupKey(c.first, c.forwarded, c.verified, name))
		kept := w.ok("GET", keys+"/!a/1?version="+v, alice, nil)["session_data"].(object)["ciphertext"]
		if (kept == name) != c.wins || (count["etag"] != before) != c.wins || count["count"] != 5.0 {
			t.Errorf("%v: %v is kept, %v", c, kept, count)
		}
	}

	rooms := w.ok("GET", keys+"?version="+v, alice, nil)["rooms"].(object)
	if len(rooms) != 3 || len(rooms["!a"].(object)["sessions"].(object)) != 2 || len(rooms["!c"].(object)["sessions"].(object)) != 1 {
		t.Errorf("all keys: %v", rooms)
	}
	if s := w.ok("GET", keys+"/!b?version="+v, alice, nil)["sessions"].(object); len(s) != 2 {
		t.Errorf("a room's keys: %v", s)
	}
	if s := w.ok("GET", keys+"/!nowhere?version="+v, alice, nil)["sessions"].(object); len(s) != 0 {
		t.Errorf("an unknown room's keys: %v", s)
	}
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", keys+"/!a/3?version="+v, alice, nil)
	w.refused(http.StatusBadRequest, "M_MISSING_PARAM", "GET", keys, alice, nil)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", keys+"?version=7", w.register("bob"), nil)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", keys+"?version="+v, w.register("carol"), nil)
	for _, bad := range []any{object{}, object{"rooms": object{"!a": object{}}}, object{"rooms": object{"!a": object{"sessions": object{"1": nil}}}},
		object{"rooms": object{"!a": object{"sessions": object{"1": backupKey(-1, 0, true, "")}}}}, object{"rooms": nil},
		object{"rooms": object{"!a": object{"sessions": object{"1": object{"session_data": object{}}}}}}} {
		w.refused(http.StatusBadRequest, "M_BAD_JSON", "PUT", keys+"?version="+v, alice, bad)
	}

	// What is known about the backup, and a newer one.
	info["auth_data"] = object{"public_key": "def"}
	w.ok("PUT", versions+"/"+v, alice, info)
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "PUT", versions+"/"+v, alice, object{"algorithm": "other", "auth_data": object{}})
	w.refused(http.StatusBadRequest, "M_INVALID_PARAM", "PUT", versions+"/"+v, alice,
		object{"algorithm": info["algorithm"], "auth_data": object{}, "version": "9"})
	if b := w.ok("GET", versions+"/"+v, alice, nil); b["auth_data"].(object)["public_key"] != "def" {
		t.Errorf("the changed backup is %v", b)
	}
	newer := w.ok("POST", versions, alice, info)["version"].(string)
	status, refusal := w.do("PUT", keys+"?version="+v, alice, object{"rooms": object{}})
	if status != http.StatusForbidden || refusal["errcode"] != "M_WRONG_ROOM_KEYS_VERSION" || refusal["current_version"] != newer {
		t.Errorf("keys for the old version: %d %v", status, refusal)
	}
	if n := w.ok("DELETE", keys+"/!a/1?version="+v, alice, nil)["count"]; n != 4.0 {
		t.Errorf("after a key is deleted there are %v", n)
	}
	if n := w.ok("DELETE", keys+"?version="+v, alice, nil)["count"]; n != 0.0 {
		t.Errorf("after all keys are deleted there are %v", n)
	}
	w.ok("DELETE", versions+"/"+newer, alice, nil)
	w.ok("DELETE", versions+"/"+newer, alice, nil) // it is gone, as was asked for
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "GET", versions+"/"+newer, alice, nil)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "DELETE", versions+"/77", alice, nil)
	w.refused(http.StatusNotFound, "M_NOT_FOUND", "DELETE", keys+"?version="+newer, alice, nil)
	if b := w.ok("GET", versions, alice, nil); b["version"] != v {
		t.Errorf("after the newest was deleted: %v", b)
	}
	if again := w.ok("POST", versions, alice, info)["version"].(string); again == newer {
		t.Error("a version was given twice")
	}
}

// TestSlowBackupReaders: who downloads a backup and stops reading keeps nobody else from
// the database.
func TestSlowBackupReaders(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	v := w.ok("POST", "/room_keys/version", alice, object{"algorithm": "x", "auth_data": object{}})["version"].(string)
	sessions, data := object{}, strings.Repeat("x", 20_000)
	for i := range 600 {
		sessions[fmt.Sprint(i)] = backupKey(0, 0, false, data)
	}
	w.ok("PUT", "/room_keys/keys/!a?version="+v, alice, object{"sessions": sessions})
	for range 25 { // more than the pool has connections
		r, err := http.NewRequest("GET", w.url+"/_matrix/client/v3/room_keys/keys?version="+v, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+alice)
		slow := &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		}}
		res, err := (&http.Client{Transport: &http.Transport{DialContext: slow.DialContext}}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
	}
	all := w.ok("GET", "/room_keys/keys?version="+v, alice, nil)["rooms"].(object)["!a"].(object)["sessions"].(object)
	if len(all) != 600 {
		t.Errorf("%d keys are told of 600", len(all))
	}
}
