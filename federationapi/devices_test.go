package federationapi

import (
	"encoding/json"
	"net/http"
	"testing"

	"hearth/federationapi/client"
	"hearth/storage"
)

// TestDevicesForServers asks another server for the keys of its users' devices, and
// takes a one-time key that nobody gets again.
func TestDevicesForServers(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice := "@alice:" + one.name
	ctx := background(t)
	if err := one.db.CreateUser(ctx, storage.User{ID: alice}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.db.CreateSession(ctx, alice, "PHONE", "Phone", storage.NewToken{}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.db.SetDeviceKeys(ctx, storage.DeviceKeys{UserID: alice, DeviceID: "PHONE", JSON: json.RawMessage(`{"user_id":"` + alice + `"}`)}); err != nil {
		t.Fatal(err)
	}
	if err := one.db.AddOneTimeKeys(ctx, alice, "PHONE", []storage.DeviceKey{{Algorithm: "signed_curve25519", KeyID: "A", JSON: json.RawMessage(`{"key":"x"}`)}}); err != nil {
		t.Fatal(err)
	}
	devices := two.get(one, client.Path("/_matrix/federation/v1/user/devices", alice))
	if list := devices["devices"].([]any); len(list) != 1 || list[0].(object)["device_display_name"] != "Phone" {
		t.Errorf("%v", devices)
	}
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", client.Path("/_matrix/federation/v1/user/devices", "@bob:"+one.name), nil)
	var keys object
	ask := func(path string, body object) object {
		keys = nil
		if err := two.client.Post(ctx, one.name, "/_matrix/federation/v1/user/keys/"+path, body, &keys); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	found := ask("query", object{"device_keys": object{alice: []string{}, "@x:" + two.name: []string{}}})["device_keys"].(object)
	if len(found) != 1 || found[alice].(object)["PHONE"] == nil {
		t.Errorf("%v", found)
	}
	claim := object{"one_time_keys": object{alice: object{"PHONE": "signed_curve25519"}}}
	if got := ask("claim", claim)["one_time_keys"].(object); got[alice] == nil {
		t.Errorf("%v", got)
	}
	if got := ask("claim", claim)["one_time_keys"].(object); len(got) != 0 {
		t.Errorf("a one-time key was given twice: %v", got)
	}
	two.refused(http.StatusBadRequest, "M_MISSING_PARAM", one, "POST", "/_matrix/federation/v1/user/keys/claim", object{})
	two.refused(http.StatusBadRequest, "M_NOT_JSON", one, "POST", "/_matrix/federation/v1/user/keys/query", nil)
}
