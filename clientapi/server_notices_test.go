package clientapi

import (
	"crypto/ed25519"
	"testing"

	"hearth/roomserver"
)

// TestServerNotices has an administrator write to people, each in a room of their own, of which
// they can't reject the invitation.
func TestServerNotices(t *testing.T) {
	notices := ServerNotices{UserID: "@server:test.local", DisplayName: "Notices", RoomName: "From the server"}
	w := newWorld(t, func(o *Options) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Notices = notices
		o.Rooms = roomserver.New(roomserver.Options{DB: o.DB, ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: key, CacheBytes: 1 << 20, Profile: o.DB.ProfileNames})
	})
	admin, alice := w.admin("admin"), w.register("alice")
	const path = "/_synapse/admin/v1/send_server_notice"
	notice := object{"user_id": "@alice:test.local", "content": object{"msgtype": "m.text", "body": "hello"}}
	w.refused(403, "M_FORBIDDEN", "POST", path, alice, nil)
	for _, wrong := range []object{{"user_id": "@alice:else.where"}, {"user_id": "@server:test.local"}, {"type": "m.room.member", "state_key": ""}} {
		body := object{"user_id": "@alice:test.local", "content": object{}}
		for k, v := range wrong {
			body[k] = v
		}
		w.refused(400, "M_INVALID_PARAM", "POST", path, admin, body)
	}
	w.refused(404, "M_NOT_FOUND", "POST", path, admin, object{"user_id": "@nobody:test.local", "content": object{}})
	w.refused(400, "M_MISSING_PARAM", "POST", path, admin, object{"user_id": "@alice:test.local"})
	w.refused(400, "M_BAD_JSON", "POST", path, admin, object{"user_id": "@alice:test.local", "content": "hello"})
	w.refused(400, "M_USER_IN_USE", "POST", "/register", "", object{"username": "server", "password": "secret-server", "auth": object{"type": "m.login.dummy"}})

	first := w.ok("POST", path, admin, notice)["event_id"].(string)
	room, err := w.db.NoticeRoom(background(t), "@alice:test.local")
	if err != nil {
		t.Fatal(err)
	}
	w.refused(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", "POST", "/rooms/"+room+"/leave", alice, object{})
	w.refused(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", "PUT", "/rooms/"+room+"/state/m.room.member/@alice:test.local", alice, object{"membership": "leave"})
	w.ok("POST", "/join/"+room, alice, object{})
	same(t, "the notice", w.ok("GET", "/rooms/"+room+"/event/"+first, alice, nil)["sender"], "@server:test.local")
	same(t, "its sender", w.state(room, alice, "m.room.member", "@server:test.local")["displayname"], "Notices")
	w.refused(403, "M_FORBIDDEN", "PUT", "/rooms/"+room+"/send/m.room.message/1", alice, object{"body": "thanks"})
	tags, err := w.db.GetAccountData(background(t), "@alice:test.local", room, "m.tag")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tags", string(tags), `{"tags":{"m.server_notice":{}}}`)
	w.ok("POST", "/rooms/"+room+"/leave", alice, object{})

	w.api.notices.RoomName = "Renamed"
	again := w.ok("PUT", path+"/txn", admin, notice)["event_id"]
	same(t, "the same request", w.ok("PUT", path+"/txn", admin, notice)["event_id"], again)
	w.ok("POST", "/join/"+room, alice, object{})
	same(t, "the room", w.state(room, alice, "m.room.name", "")["name"], "Renamed")
	w.ok("POST", path, admin, object{"user_id": "@alice:test.local", "type": "m.room.topic", "state_key": "", "content": object{"topic": "news"}})
	same(t, "state", w.state(room, alice, "m.room.topic", "")["topic"], "news")

	w.api.notices.AutoJoin = true
	w.ok("POST", path, admin, object{"user_id": "@admin:test.local", "content": object{}})
	other, err := w.db.NoticeRoom(background(t), "@admin:test.local")
	if err != nil || other == room {
		t.Fatal(other, err)
	}
	same(t, "brought in", w.state(other, admin, "m.room.member", "@admin:test.local")["membership"], "join")
	w.api.notices.UserID = ""
	w.refused(400, "M_UNKNOWN", "POST", path, admin, notice)
}

// TestServerNoticesNeedAName doesn't have notices come from somebody who is there.
func TestServerNoticesNeedAName(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	w.api.notices.UserID = "@alice:test.local"
	err := w.api.notices.name(background(t))
	if err == nil {
		t.Error("notices come from alice")
	}
	w.ok("GET", "/account/whoami", alice, nil)
	if u, err := w.db.GetUser(background(t), "@alice:test.local"); err != nil || u.UserType != "" {
		t.Errorf("alice is %v: %v", u, err)
	}
}
