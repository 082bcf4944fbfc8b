package clientapi

import (
	"fmt"
	"testing"

	"hearth/storage"
)

// TestKeysOfANewDevice: who hears of a new device finds keys of it to claim.
func TestKeysOfANewDevice(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	token := w.login("alice", object{"device_id": "PHONE"})["access_token"].(string)
	heard := false
	w.db.Stream.Follow(func(b *storage.Batch) {
		for _, c := range b.Changes {
			for _, l := range c.DeviceLists {
				if heard = true; l.DeviceID != "PHONE" {
					continue
				}
				if k, err := w.db.ClaimKey(t.Context(), l.UserID, l.DeviceID, "signed_curve25519"); err != nil || k.KeyID != "A" {
					t.Errorf("a new device has the key %v: %v", k, err)
				}
			}
		}
	})
	w.ok("POST", "/keys/upload", token, object{"one_time_keys": object{"signed_curve25519:A": object{"key": "A"}}, "device_keys": object{
		"user_id": "@alice:test.local", "device_id": "PHONE", "algorithms": []string{}, "keys": object{}, "signatures": object{}}})
	if !heard {
		t.Error("nobody is told of the device")
	}
}

// TestKeysOfADeviceMadeAnew: who logs out and in again under the same device id has no keys left, and what
// is asked of who has none, or isn't there, is told apart.
func TestKeysOfADeviceMadeAnew(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	upload := func(token, id string) object {
		return w.ok("POST", "/keys/upload", token, object{"one_time_keys": object{"signed_curve25519:" + id: object{"key": id}},
			"fallback_keys": object{"signed_curve25519:F" + id: object{"key": id, "fallback": true}}})
	}
	token := w.login("alice", object{"device_id": "PHONE"})["access_token"].(string)
	upload(token, "A")
	if counts := upload(token, "B")["one_time_key_counts"].(object); counts["signed_curve25519"] != 2.0 {
		t.Errorf("two keys are %v", counts)
	}
	w.ok("POST", "/logout", token, object{})
	token = w.login("alice", object{"device_id": "PHONE"})["access_token"].(string)
	if counts := w.ok("POST", "/keys/upload", token, object{})["one_time_key_counts"].(object); len(counts) != 0 {
		t.Errorf("a new device has %v", counts)
	}
	query := object{"device_keys": object{"@alice:test.local": []string{"NONE"}, "@nobody:test.local": []string{}, "no id": []string{}}}
	if found := w.ok("POST", "/keys/query", token, query)["device_keys"]; fmt.Sprint(found) != "map[@alice:test.local:map[]]" {
		t.Errorf("asked of alice and others: %v", found)
	}
}
