package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestMediaCare has an administrator find, quarantine and delete what people shared, and
// ask beforehand what would go.
func TestMediaCare(t *testing.T) {
	s := startServer(t, "media.daily_quota=1MiB")
	alice, bob := register(t, s.base, "alice"), register(t, s.base, "bob")
	if _, stderr, code := s.run("correct horse battery\n", "create-user", "--username", "root", "--admin", "--password-stdin", "--config", s.config); code != 0 {
		t.Fatal(stderr)
	}
	root := login(t, s.base, "root", "correct horse battery")
	upload := func(u *user, content string) (uri, path string) {
		uri = u.ok(t, "POST", "/_matrix/media/v3/upload?filename=a.txt", []byte(content)).Get("content_uri").Str
		return uri, strings.TrimPrefix(uri, "mxc://")
	}
	const admin, download = "/_synapse/admin/v1", "/_matrix/client/v1/media/download/"
	shared, sharedPath := upload(alice, "shared")
	_, copiedPath := upload(bob, "shared") // the same content
	face, facePath := upload(alice, "face")
	_, unused := upload(bob, "unused")
	alice.ok(t, "PUT", clientV3+"/profile/"+alice.id+"/avatar_url", map[string]any{"avatar_url": face})
	roomPicture, roomPicturePath := upload(alice, "room")
	room := alice.createRoom(t, map[string]any{"preset": "public_chat"})
	alice.setState(t, room, "m.room.avatar", "", map[string]any{"url": roomPicture})
	alice.ok(t, "PUT", inRoom(room, "send/m.room.message/1"), map[string]any{"msgtype": "m.file", "body": "a.txt", "url": shared})

	bob.refused(t, 403, "M_FORBIDDEN", "GET", admin+"/room/"+url.PathEscape(room)+"/media", nil)
	if got := root.ok(t, "GET", admin+"/room/"+url.PathEscape(room)+"/media", nil); !strings.Contains(got.Get("local").Raw, shared) || len(got.Get("local").Array()) != 3 || len(got.Get("remote").Array()) != 0 {
		t.Errorf("the room's media: %s", got.Raw)
	}
	if got := root.ok(t, "GET", admin+"/media/"+sharedPath, nil).Get("media_info"); got.Get("mentions").Int() != 1 || got.Get("user_id").Str != alice.id || got.Get("upload_name").Str != "a.txt" {
		t.Errorf("details: %s", got.Raw)
	}

	// What is quarantined is gone for everybody, under every name.
	root.ok(t, "POST", admin+"/media/quarantine/"+sharedPath, nil)
	alice.refused(t, 404, "M_NOT_FOUND", "GET", download+sharedPath, nil)
	bob.refused(t, 404, "M_NOT_FOUND", "GET", download+copiedPath, nil)
	_, again := upload(bob, "shared")
	bob.refused(t, 404, "M_NOT_FOUND", "GET", download+again, nil)
	root.ok(t, "POST", admin+"/media/unquarantine/"+copiedPath, nil)
	alice.ok(t, "GET", download+sharedPath, nil)
	root.ok(t, "POST", admin+"/media/protect/"+facePath[strings.IndexByte(facePath, '/')+1:], nil)
	root.refused(t, 404, "M_NOT_FOUND", "POST", admin+"/media/protect/nothing", nil)
	if n := root.ok(t, "POST", admin+"/room/"+url.PathEscape(room)+"/media/quarantine", nil).Get("num_quarantined").Int(); n != 4 { // shared thrice, and the room's picture
		t.Errorf("%d of the room's media are quarantined", n)
	}
	alice.ok(t, "GET", download+facePath, nil)
	if n := root.ok(t, "POST", admin+"/user/"+bob.id+"/media/quarantine", nil).Get("num_quarantined").Int(); n != 1 {
		t.Errorf("%d of bob's media are quarantined", n)
	}
	for _, path := range []string{copiedPath, roomPicturePath, unused} {
		root.ok(t, "POST", admin+"/media/unquarantine/"+path, nil)
	}

	list := root.ok(t, "GET", admin+"/users/"+bob.id+"/media?limit=2&order_by=media_length", nil)
	if list.Get("total").Int() != 3 || list.Get("next_token").Int() != 2 || list.Get("media.0.media_length").Int() != 6 {
		t.Errorf("bob's media: %s", list.Raw)
	}
	if got := root.ok(t, "GET", admin+"/statistics/users/media?order_by=media_length&dir=b&search_term=ALICE", nil); got.Get("total").Int() != 1 || got.Get("users.0.media_count").Int() != 3 {
		t.Errorf("statistics: %s", got.Raw)
	}
	root.refused(t, 400, "M_INVALID_PARAM", "GET", admin+"/users/"+bob.id+"/media?order_by=password", nil)
	root.refused(t, 404, "M_NOT_FOUND", "GET", admin+"/users/@nobody:"+strings.SplitN(bob.id, ":", 2)[1]+"/media", nil)

	if out, stderr, code := s.run("", "media", "prune", "--local", "1d", "--dry-run", "--config", s.config); code != 0 || !strings.Contains(out, "Would delete 0 of users' uploads") {
		t.Errorf("%d %s %s", code, out, stderr)
	}
	if out, stderr, code := s.run("", "media", "usage", "--config", s.config); code != 0 || !strings.Contains(out, "uploaded by users") {
		t.Errorf("%d %s %s", code, out, stderr)
	}
	root.refused(t, 400, "M_MISSING_PARAM", "POST", admin+"/media/delete", nil)
	root.refused(t, 400, "M_INVALID_PARAM", "POST", admin+"/media/delete?before_ts=99999999999999", nil)
	alice.refused(t, 403, "M_FORBIDDEN", "GET", admin+"/media/"+facePath, nil)
	if n := root.ok(t, "POST", fmt.Sprintf("%s/media/delete?before_ts=%d&size_gt=9223372036854775807", admin, time.Now().UnixMilli()), nil).Get("total").Int(); n != 0 {
		t.Errorf("%d media are larger than anything", n)
	}
	// All that isn't somebody's picture goes.
	gone := root.ok(t, "POST", fmt.Sprintf("%s/media/delete?before_ts=%d", admin, time.Now().UnixMilli()), nil)
	if gone.Get("total").Int() != 4 {
		t.Errorf("deleted: %s", gone.Raw)
	}
	alice.ok(t, "GET", download+facePath, nil)
	alice.ok(t, "GET", download+roomPicturePath, nil)
	alice.refused(t, 404, "M_NOT_FOUND", "GET", download+sharedPath, nil)
	root.ok(t, "DELETE", admin+"/media/"+facePath, nil)
	alice.refused(t, 404, "M_NOT_FOUND", "GET", download+facePath, nil)
	root.ok(t, "POST", fmt.Sprintf("%s/purge_media_cache?before_ts=%d", admin, time.Now().UnixMilli()), nil)
	bob.ok(t, "POST", "/_matrix/media/v3/upload", make([]byte, 1<<20-100))
	bob.refused(t, 403, "M_USER_LIMIT_EXCEEDED", "POST", "/_matrix/media/v3/upload", make([]byte, 200))
}
