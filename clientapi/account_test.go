package clientapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hearth/storage"
)

// TestDevices lists, renames and deletes devices; deleting takes the password.
func TestDevices(t *testing.T) {
	w := newWorld(t, nil)
	token := w.register("alice")
	w.register("mallory")
	other := w.login("alice", object{"device_id": "SECOND", "initial_device_display_name": "Second"})["access_token"].(string)
	w.login("alice", object{"device_id": "THIRD"})
	w.ok("GET", "/account/whoami", other, nil)
	w.api.sightings.flush()

	list := w.ok("GET", "/devices", token, nil)["devices"].([]any)
	if len(list) != 3 {
		t.Fatalf("devices: %v", list)
	}
	second := w.ok("GET", "/devices/SECOND", token, nil)
	if second["display_name"] != "Second" || second["last_seen_ip"] != "127.0.0.1" || second["last_seen_ts"] == nil {
		t.Errorf("a device: %v", second)
	}
	w.ok("PUT", "/devices/SECOND", token, object{"display_name": "Zweites"})
	w.ok("PUT", "/devices/SECOND", token, object{})
	if d := w.ok("GET", "/devices/SECOND", token, nil); d["display_name"] != "Zweites" {
		t.Errorf("a renamed device: %v", d)
	}
	w.refused(404, "M_NOT_FOUND", "GET", "/devices/NONE", token, nil)
	w.refused(404, "M_NOT_FOUND", "PUT", "/devices/NONE", token, object{"display_name": "x"})
	w.refused(404, "M_NOT_FOUND", "PUT", "/devices/NONE", token, object{})
	w.refused(400, "M_BAD_JSON", "PUT", "/devices/SECOND", token, object{"display_name": 1})
	w.refused(400, "M_INVALID_PARAM", "PUT", "/devices/SECOND", token, object{"display_name": strings.Repeat("x", 3000)})

	status, asked := w.do("DELETE", "/devices/SECOND", token, nil)
	session, _ := asked["session"].(string)
	if status != 401 || asked["errcode"] != nil || fmt.Sprint(asked["flows"]) != "[map[stages:[m.login.password]]]" || session == "" {
		t.Fatalf("asking for the flows: %d %v", status, asked)
	}
	wrong := passwordAuth("alice", session)
	wrong["password"] = "wrong"
	if answer := w.refused(401, "M_FORBIDDEN", "DELETE", "/devices/SECOND", token, object{"auth": wrong}); answer["session"] != session {
		t.Errorf("the session changed: %v", answer)
	}
	w.refused(401, "M_FORBIDDEN", "DELETE", "/devices/SECOND", token, object{"auth": passwordAuth("nobody", session)})
	w.refused(403, "M_FORBIDDEN", "DELETE", "/devices/SECOND", token, object{"auth": passwordAuth("mallory", session)})
	w.refused(401, "M_FORBIDDEN", "DELETE", "/devices/SECOND", token, object{"auth": object{"type": "m.login.dummy", "session": session}})
	w.ok("GET", "/account/whoami", other, nil)
	silenced := storage.Change{}
	for _, name := range []string{"m.local_notification_settings.SECOND", "org.matrix.msc3890.local_notification_settings.SECOND", "m.local_notification_settings.THIRD"} {
		silenced.AccountData = append(silenced.AccountData, storage.AccountData{UserID: "@alice:test.local", Type: name, Content: []byte(`{"is_silenced":true}`)})
	}
	if err := w.db.Stream.Append(t.Context(), &silenced); err != nil {
		t.Fatal(err)
	}
	w.ok("DELETE", "/devices/SECOND", token, object{"auth": passwordAuth("alice", session)})
	for i, d := range silenced.AccountData {
		if content, err := w.db.GetAccountData(t.Context(), d.UserID, "", d.Type); err != nil || (string(content) == "{}") != (i < 2) {
			t.Errorf("the settings %s are %s: %v", d.Type, content, err)
		}
	}
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", other, nil)
	// What was completed for one operation is worth nothing for another.
	if status, _ := w.do("DELETE", "/devices/THIRD", token, object{"auth": object{"session": session}}); status != 401 {
		t.Errorf("a finished session was good for another device: %d", status)
	}
	w.ok("DELETE", "/devices/SECOND", token, object{"auth": passwordAuth("alice", "")}) // removed previously
	w.refused(400, "M_BAD_JSON", "POST", "/delete_devices", token, object{"devices": "THIRD", "auth": passwordAuth("alice", "")})
	w.refused(400, "M_MISSING_PARAM", "POST", "/delete_devices", token, object{"auth": passwordAuth("alice", "")})
	w.ok("POST", "/delete_devices", token, object{"devices": []string{"THIRD", "NONE"}, "auth": passwordAuth("alice", "")})
	if list := w.ok("GET", "/devices", token, nil)["devices"].([]any); len(list) != 1 {
		t.Errorf("devices at the end: %v", list)
	}
}

// TestPassword changes a password, with and without logging other devices out,
// and without a session.
func TestPassword(t *testing.T) {
	w := newWorld(t, nil)
	token := w.register("alice")
	other := w.login("alice", nil)["access_token"].(string)
	change := func(token, old, new string, more object) {
		t.Helper()
		auth := object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": "alice"}, "password": old}
		body := object{"new_password": new, "auth": auth}
		for k, v := range more {
			body[k] = v
		}
		w.ok("POST", "/account/password", token, body)
	}
	change(token, "secret-alice", "next", object{"logout_devices": false})
	w.ok("GET", "/account/whoami", other, nil)
	change(token, "next", "other", nil)
	w.ok("GET", "/account/whoami", token, nil)
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", other, nil)
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", object{"type": "m.login.password", "user": "alice", "password": "next"})
	change("", "other", "secret-alice", nil)
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", token, nil)
	in := w.login("alice", nil)
	w.refused(400, "M_MISSING_PARAM", "POST", "/account/password", in["access_token"].(string), object{"auth": passwordAuth("alice", "")})
}

// TestDeactivate ends an account, interrupted while it leaves its rooms.
func TestDeactivate(t *testing.T) {
	var left []string
	unreachable := errors.New("the rooms can't be left now")
	w := newWorld(t, func(o *Options) {
		o.LeaveRooms = func(_ context.Context, userID string) error {
			left = append(left, userID)
			return unreachable
		}
	})
	token := w.register("alice")
	w.ok("PUT", "/profile/@alice:test.local/displayname", token, object{"displayname": "Alice"})
	w.refused(401, "<nil>", "POST", "/account/deactivate", token, object{"erase": true})
	answer := w.ok("POST", "/account/deactivate", token, object{"erase": true, "auth": passwordAuth("alice", "")})
	if answer["id_server_unbind_result"] != "success" || len(left) != 1 {
		t.Errorf("deactivating: %v, left %v", answer, left)
	}
	w.refused(401, "M_UNKNOWN_TOKEN", "GET", "/account/whoami", token, nil)
	w.refused(403, "M_USER_DEACTIVATED", "POST", "/login", "", object{"type": "m.login.password", "user": "alice", "password": "secret-alice"})
	w.refused(400, "M_USER_IN_USE", "GET", "/register/available?username=alice", "", nil)
	w.refused(404, "M_NOT_FOUND", "GET", "/profile/@alice:test.local", "", nil)

	unreachable = nil
	ctx := background(t)
	for range 2 { // the second time there is nothing left to do
		if err := w.api.ResumeDeactivations(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if len(left) != 2 {
		t.Errorf("left rooms %d times", len(left))
	}
	if err := w.db.SetPassword(ctx, "@alice:test.local", "x"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a deactivated account got a password: %v", err)
	}
}

// TestProfile sets and reads profile fields.
func TestProfile(t *testing.T) {
	changes := 0
	w := newWorld(t, func(o *Options) {
		o.OnProfileChange = func(context.Context, string) error { changes++; return nil }
	})
	token := w.register("alice")
	const profile = "/profile/@alice:test.local"
	if p := w.ok("GET", profile, "", nil); fmt.Sprint(p) != "map[displayname:alice]" {
		t.Errorf("a new profile: %v", p)
	}
	w.ok("PUT", profile+"/displayname", token, object{"displayname": "Alice <&> \u2028"})
	w.ok("PUT", profile+"/displayname", token, object{"displayname": "Alice <&> \u2028"}) // again
	if f := w.ok("GET", profile+"/displayname", "", nil); fmt.Sprint(f) != "map[displayname:Alice <&> \u2028]" {
		t.Errorf("a field: %v", f)
	}
	w.ok("PUT", profile+"/avatar_url", token, object{"avatar_url": "mxc://test.local/abc"})
	w.ok("PUT", profile+"/m.tz", token, object{"m.tz": "Europe/Berlin"})
	w.ok("PUT", profile+"/org.example.languages", token, object{"org.example.languages": []any{"de", 1.5, nil}})
	p := w.ok("GET", "/profile/%40alice%3Atest.local", "", nil)
	if len(p) != 4 || p["displayname"] != "Alice <&> \u2028" || fmt.Sprint(p["org.example.languages"]) != "[de 1.5 <nil>]" {
		t.Errorf("the profile: %v", p)
	}
	if name, avatar, err := w.db.ProfileNames(background(t), "@alice:test.local"); name != "Alice <&> \u2028" || avatar != "mxc://test.local/abc" || err != nil {
		t.Errorf("names: %q %q %v", name, avatar, err)
	}
	w.ok("PUT", profile+"/displayname", token, object{"displayname": ""})
	w.refused(404, "M_NOT_FOUND", "GET", profile+"/displayname", "", nil)
	w.ok("DELETE", profile+"/avatar_url", token, nil)
	w.ok("DELETE", profile+"/avatar_url", token, nil)
	if changes != 6 {
		t.Errorf("membership events were updated %d times", changes)
	}
	w.refused(403, "M_FORBIDDEN", "PUT", "/profile/@bob:test.local/displayname", token, object{"displayname": "x"})
	w.refused(404, "M_NOT_FOUND", "GET", "/profile/@nobody:test.local", "", nil)
	w.refused(400, "M_INVALID_PARAM", "GET", "/profile/nobody", "", nil)
	w.refused(400, "M_MISSING_PARAM", "PUT", profile+"/displayname", token, object{})
	w.refused(400, "M_BAD_JSON", "PUT", profile+"/displayname", token, object{"displayname": nil})
	w.refused(400, "M_INVALID_PARAM", "PUT", profile+"/displayname", token, object{"displayname": "a\x00"})
	w.refused(400, "M_BAD_JSON", "PUT", profile+"/avatar_url", token, object{"avatar_url": 1})
	w.refused(400, "M_INVALID_PARAM", "PUT", profile+"/nonsense", token, object{"nonsense": 1})
	w.refused(400, "M_KEY_TOO_LARGE", "PUT", profile+"/a."+strings.Repeat("b", 300), token, object{})
	w.refused(400, "M_PROFILE_TOO_LARGE", "PUT", profile+"/org.example.big", token, object{"org.example.big": strings.Repeat("x", 65<<10)})
}

// TestFiltersAndRules stores filters and reads the default push rules.
func TestFiltersAndRules(t *testing.T) {
	w := newWorld(t, nil)
	token := w.register("alice")
	const filters = "/user/@alice:test.local/filter"
	id := w.ok("POST", filters, token, `{"room": {"timeline": {"limit": 5, "types": ["a", "b"]}}}`)["filter_id"].(string)
	same := w.ok("POST", filters, token, `{"room":{"timeline":{"types":["a","b"],"limit":5}}}`)["filter_id"]
	other := w.ok("POST", filters, token, `{}`)["filter_id"]
	if same != id || other == id {
		t.Errorf("filter ids: %v %v %v", id, same, other)
	}
	if f := w.ok("GET", filters+"/"+id, token, nil); fmt.Sprint(f) != "map[room:map[timeline:map[limit:5 types:[a b]]]]" {
		t.Errorf("a filter: %v", f)
	}
	for _, none := range []string{"99", "x", "-1", "99999999999999999999"} {
		w.refused(404, "M_NOT_FOUND", "GET", filters+"/"+none, token, nil)
	}
	w.refused(403, "M_FORBIDDEN", "POST", "/user/@bob:test.local/filter", token, `{}`)
	w.refused(403, "M_FORBIDDEN", "GET", "/user/@bob:test.local/filter/"+id, token, nil)
	for _, bad := range []string{`{"room":[]}`, `{"event_fields":"x"}`, `{"event_format":"x"}`, `{"room":{"timeline":{"limit":"x"}}}`, `{"presence":{"types":[1]}}`} {
		w.refused(400, "M_BAD_JSON", "POST", filters, token, bad)
	}
	w.refused(413, "M_TOO_LARGE", "POST", filters, token, object{"event_fields": []string{strings.Repeat("x", 70<<10)}})

	rules := w.ok("GET", "/pushrules/", token, nil)["global"]
	if fmt.Sprint(rules) != fmt.Sprint(w.ok("GET", "/pushrules/global/", token, nil)) {
		t.Error("the two ways to read all rules differ")
	}
	mention := w.ok("GET", "/pushrules/global/override/.m.rule.is_user_mention", token, nil)
	if !strings.Contains(fmt.Sprint(mention["conditions"]), "value:@alice:test.local") {
		t.Errorf("a rule: %v", mention)
	}
	if e := w.ok("GET", "/pushrules/global/override/.m.rule.master/enabled", token, nil); e["enabled"] != false {
		t.Errorf("the master rule: %v", e)
	}
	if a := w.ok("GET", "/pushrules/global/underride/.m.rule.message/actions", token, nil); fmt.Sprint(a["actions"]) != "[notify]" {
		t.Errorf("actions: %v", a)
	}
	w.refused(404, "M_NOT_FOUND", "GET", "/pushrules/global/override/none", token, nil)
	w.refused(400, "M_INVALID_PARAM", "GET", "/pushrules/global/none/none", token, nil)
}

// TestDiscovery reads what clients ask before they log in.
func TestDiscovery(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.PublicBaseURL = "https://matrix.test.local"
		o.Support = &Support{Contacts: []SupportContact{{Role: "m.role.admin", Email: "admin@test.local"}}}
	})
	if v := w.ok("GET", "/_matrix/client/versions", "no such token", nil); len(v["versions"].([]any)) == 0 {
		t.Errorf("versions: %v", v)
	} else if v["unstable_features"].(map[string]any)["org.matrix.e2e_cross_signing"] != true {
		t.Errorf("Element would let nobody verify anybody: %v", v)
	}
	if k := w.ok("GET", "/.well-known/matrix/client", "", nil); fmt.Sprint(k) != "map[m.homeserver:map[base_url:https://matrix.test.local]]" {
		t.Errorf("well-known: %v", k)
	}
	w.ok("GET", "/.well-known/matrix/support", "", nil)
	if c := w.ok("GET", "/capabilities", w.register("alice"), nil); !strings.Contains(fmt.Sprint(c), "default:12") {
		t.Errorf("capabilities: %v", c)
	}
	silent := newWorld(t, nil)
	silent.refused(404, "M_NOT_FOUND", "GET", "/.well-known/matrix/client", "", nil)
	silent.refused(404, "M_NOT_FOUND", "GET", "/.well-known/matrix/support", "", nil)
}

// TestRenamedDevice tells other servers of a device's new name, whether it has keys or not.
func TestRenamedDevice(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	told := func() storage.Position {
		t.Helper()
		p, err := w.db.DeviceListPosition(background(t), "@alice:test.local")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	w.ok("PUT", "/devices/FIRST", alice, object{"display_name": "a"})
	if told() == 0 {
		t.Error("a device without keys isn't told of")
	}
	w.ok("POST", "/keys/upload", alice, object{"device_keys": object{"user_id": "@alice:test.local", "device_id": "FIRST",
		"algorithms": []string{"m.olm"}, "keys": object{"ed25519:FIRST": "k"}, "signatures": object{}}})
	before := told()
	w.ok("PUT", "/devices/FIRST", alice, object{"display_name": "b"})
	if p := told(); p <= before {
		t.Errorf("the new name isn't told: %d, before %d", p, before)
	}
}

// TestManyDevices logs in once too often: the device that was used longest ago makes room.
func TestManyDevices(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	for i := range maxDevices - 1 {
		token := storage.NewToken{}
		token.Access[0], token.Access[1] = byte(i), byte(i>>8)
		if _, err := w.db.CreateSession(background(t), "@alice:test.local", fmt.Sprint("D", i), "", token); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.ok("GET", "/devices", alice, nil)["devices"].([]any)); n != maxDevices {
		t.Fatalf("alice has %d devices", n)
	}
	w.api.sightings.flush()
	w.login("alice", object{"device_id": "NEW"})
	w.ok("GET", "/devices", alice, nil)
	left, err := w.db.DevicesBeyond(background(t), "@alice:test.local", 0)
	if err != nil || len(left) != maxDevices || slices.Contains(left, "D0") || !slices.Contains(left, "NEW") {
		t.Errorf("%d devices are left: %v", len(left), err)
	}
}
