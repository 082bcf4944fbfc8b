package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestSharedMedia has a picture of one server's user be looked at by another's.
func TestSharedMedia(t *testing.T) {
	one, _ := federating(t)
	two, _ := federating(t)
	alice, bob := register(t, one.base, "alice"), register(t, two.base, "bob")
	picture, err := os.ReadFile(paint(t))
	if err != nil {
		t.Fatal(err)
	}
	uri := alice.ok(t, "POST", "/_matrix/media/v3/upload?filename=fire.png", picture).Get("content_uri").Str
	path := strings.TrimPrefix(uri, "mxc://")
	const client = "/_matrix/client/v1/media"
	got := bob.do(t, "GET", client+"/download/"+path, nil)
	if got.status != 200 || string(got.body) != string(picture) || !strings.Contains(got.header.Get("Content-Disposition"), "fire.png") {
		t.Errorf("bob got %d, %d bytes, %v", got.status, len(got.body), got.header)
	}
	if got = bob.do(t, "GET", client+"/thumbnail/"+path+"?width=64&height=64&method=crop", nil); got.status != 200 || got.header.Get("Content-Type") != "image/png" {
		t.Errorf("bob's thumbnail is %d %v", got.status, got.header)
	}
	bob.refused(t, 404, "M_NOT_FOUND", "GET", client+"/download/"+path+"x", nil)
	stranger := &user{base: one.base}
	stranger.refused(t, 401, "M_UNAUTHORIZED", "GET", "/_matrix/federation/v1/media/download/"+path[strings.IndexByte(path, '/')+1:], nil)
}
