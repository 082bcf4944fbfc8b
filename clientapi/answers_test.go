package clientapi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// TestNothingOfOtherRooms: what is answered to somebody about a room that they aren't in is what is answered about none.
func TestNothingOfOtherRooms(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "private_chat"})["room_id"].(string)
	event := w.ok("PUT", "/rooms/"+room+"/send/m.room.message/1", alice, object{"body": "x", "msgtype": "m.text"})["event_id"].(string)
	for i, path := range []string{"/redact/%s/1", "/send/m.room.redaction/%s", "/send/m.room.message/%s", "/state/m.room.topic/%s"} {
		var answers []string
		for _, of := range []struct{ room, event string }{{room, event}, {room, "$nothing"}, {"!nowhere:test.local", "$nothing"}} {
			status, answer := w.do("PUT", "/rooms/"+of.room+fmt.Sprintf(path, of.event), bob, object{"redacts": of.event})
			answers = append(answers, fmt.Sprint(status, answer))
		}
		if answers[0] != answers[1] || answers[1] != answers[2] {
			t.Errorf("%d: %q", i, answers)
		}
	}
	w.refused(400, "M_MISSING_PARAM", "PUT", "/directory/room/%23x:test.local", bob, object{})
	for _, id := range []string{"bob", "@:test.local", "@b%20b:test.local", "@b%C3%BCb:test.local", "@bob:test.local"} {
		w.refused(400, "M_INVALID_PARAM", "GET", "/_matrix/client/v1/mutual_rooms?user_id="+id, bob, nil)
	}
	w.ok("GET", "/_matrix/client/v1/mutual_rooms?user_id=@Bob!:test.local", bob, nil)
}

// TestDevicesAndKeys: a device can't have the name of a key that says who its user is.
func TestDevicesAndKeys(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	key := base64.RawStdEncoding.EncodeToString(make([]byte, 32))
	if err := w.db.SetCrossSigningKeys(t.Context(), []storage.CrossSigningKey{{UserID: "@alice:test.local", Usage: "master",
		JSON: []byte(fmt.Sprintf(`{"user_id":"@alice:test.local","usage":["master"],"keys":{"ed25519:%s":"%s"},"x":"\u0000"}`, key, key))}}); err != nil {
		t.Fatal(err)
	}
	w.refused(403, "M_FORBIDDEN", "POST", "/login", "", object{"type": "m.login.password", "user": "alice", "password": "secret-alice", "device_id": key})
	if got := w.login("alice", object{"device_id": "OTHER"}); got["home_server"] != "test.local" {
		t.Errorf("logged in: %v", got)
	}
}

// TestAliasesElsewhere: a room may name aliases of other servers, if they say that these are its.
func TestAliasesElsewhere(t *testing.T) {
	var room string
	w := newWorld(t, func(o *Options) {
		o.Federation = &Federation{ResolveAlias: func(_ context.Context, alias string) (string, []string, error) {
			switch alias {
			case "#ours:far.test":
				return room, nil, nil
			case "#theirs:far.test":
				return "!other:far.test", nil, nil
			}
			return "", nil, errors.New("the server is away")
		}}
	})
	alice := w.register("alice")
	room = w.ok("POST", "/createRoom", alice, object{})["room_id"].(string)
	path := "/rooms/" + room + "/state/m.room.canonical_alias"
	w.refused(400, "M_BAD_ALIAS", "PUT", path, alice, object{"alias": "#theirs:far.test"})
	w.refused(400, "M_BAD_ALIAS", "PUT", path, alice, object{"alt_aliases": []string{"#ours:far.test", "#any:away.test"}})
	w.ok("PUT", path, alice, object{"alt_aliases": []string{"#ours:far.test"}})
}

// TestOlderNames: what there was before today's version is found by the names that older clients know.
func TestOlderNames(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	for _, prefix := range httpapi.ClientPrefixes {
		w.ok("GET", prefix+"/account/whoami", alice, nil)
		w.ok("GET", prefix+"/thirdparty/protocols", alice, nil)
		w.ok("POST", prefix+"/keys/query", alice, object{"device_keys": object{}})
		w.ok("PUT", prefix+"/sendToDevice/m.test/1", alice, object{"messages": object{}})
		w.refused(404, "M_NOT_FOUND", "GET", prefix+"/room_keys/version", alice, nil)
		w.ok("POST", prefix+"/createRoom", alice, object{})
	}
}
