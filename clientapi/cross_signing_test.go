package clientapi

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
)

// TestCrossSigningProof uploads cross-signing keys: the first ones, and the same ones
// again, need no proof of who does it. Replacing one and adding another do.
func TestCrossSigningProof(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	newKey := func(usage string, master ed25519.PrivateKey) (object, ed25519.PrivateKey) {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		text := base64.RawStdEncoding.EncodeToString(public)
		key := object{"user_id": "@alice:test.local", "usage": []string{usage}, "keys": object{"ed25519:" + text: text}}
		if master == nil {
			return key, private
		}
		plain, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		by := base64.RawStdEncoding.EncodeToString(master.Public().(ed25519.PublicKey))
		signed, err := gomatrixserverlib.SignJSON("@alice:test.local", gomatrixserverlib.KeyID("ed25519:"+by), master, plain)
		if err == nil {
			err = json.Unmarshal(signed, &key)
		}
		if err != nil {
			t.Fatal(err)
		}
		return key, private
	}
	const path = "/keys/device_signing/upload"
	master, private := newKey("master", nil)
	// No device and no key are called alike.
	name := base64.RawStdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	namesake := w.login("alice", object{"device_id": name})["access_token"].(string)
	w.refused(http.StatusForbidden, "M_FORBIDDEN", "POST", path, alice, object{"master_key": master})
	w.ok("POST", "/logout", namesake, object{})
	defer func() {
		w.refused(http.StatusForbidden, "M_FORBIDDEN", "POST", "/login", "", object{"type": "m.login.password", "device_id": name,
			"identifier": object{"type": "m.id.user", "user": "alice"}, "password": "secret-alice"})
	}()
	w.ok("POST", path, alice, object{"master_key": master})
	w.ok("POST", path, alice, object{"master_key": master})
	other, _ := newKey("master", nil)
	selfSigning, _ := newKey("self_signing", private)
	for _, body := range []object{{"master_key": other}, {"self_signing_key": selfSigning}, {"master_key": master, "self_signing_key": selfSigning}} {
		status, answer := w.do("POST", path, alice, body)
		if status != 401 || answer["flows"] == nil {
			t.Fatalf("%v: %d %v", body, status, answer)
		}
		body["auth"] = passwordAuth("alice", answer["session"].(string))
		if body["self_signing_key"] != nil && body["master_key"] == nil {
			w.ok("POST", path, alice, body)
			break
		}
	}
	w.ok("POST", path, alice, object{"master_key": master, "self_signing_key": selfSigning})
}
