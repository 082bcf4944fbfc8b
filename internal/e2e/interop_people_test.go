package e2e

import (
	"bytes"
	"image"
	_ "image/jpeg" // as thumbnails may come
	_ "image/png"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// together is a room with both in it.
func together(t *testing.T, host, guest party) string {
	t.Helper()
	room := host.makeRoom(t, "public_chat", "11", nil)
	guest.joinBy(t, room, host.server)
	host.sees(t, room, guest.id, "join")
	return room
}

// knowNames has both learn each other's name, by asking for it and in a room.
func knowNames(t *testing.T, host, guest party) {
	room := together(t, host, guest)
	name := "Host of " + room[1:5]
	host.ok(t, "PUT", clientV3+"/profile/"+url.PathEscape(host.id)+"/displayname", map[string]any{"displayname": name})
	waitFor(t, "the guest is told the name", func() bool {
		return guest.do(t, "GET", clientV3+"/profile/"+url.PathEscape(host.id), nil).json().Get("displayname").Str == name
	})
	waitFor(t, "the room shows the name", func() bool {
		return guest.do(t, "GET", inRoom(room, "state/m.room.member/"+url.PathEscape(host.id)), nil).json().Get("displayname").Str == name
	})
	nobody := "@nobody:" + host.server
	if a := guest.do(t, "GET", clientV3+"/profile/"+url.PathEscape(nobody), nil); a.status != http.StatusNotFound {
		t.Errorf("the profile of nobody: %s", a)
	}
}

// typeAndRead has the host see the guest type and read.
func typeAndRead(t *testing.T, host, guest party) {
	room := together(t, host, guest)
	said := host.say(t, room, "read me")
	guest.hear(t, room, "read me")
	guest.ok(t, "POST", inRoom(room, "receipt/m.read/"+url.PathEscape(said)), map[string]any{})
	guest.ok(t, "PUT", inRoom(room, "typing/"+url.PathEscape(guest.id)), map[string]any{"typing": true, "timeout": 30_000})
	types := func() bool {
		for _, e := range host.ephemeral(t, room) {
			if e.Get("type").Str == "m.typing" && strings.Contains(e.Get("content.user_ids").Raw, guest.id) {
				return true
			}
		}
		return false
	}
	waitFor(t, "the guest is seen typing", types)
	waitFor(t, "the guest has read it", func() bool {
		for _, e := range host.ephemeral(t, room) {
			if e.Get("type").Str == "m.receipt" && e.Get("content."+gjson.Escape(said)+".m\\.read."+gjson.Escape(guest.id)).Exists() {
				return true
			}
		}
		return false
	})
	guest.ok(t, "PUT", inRoom(room, "typing/"+url.PathEscape(guest.id)), map[string]any{"typing": false})
	waitFor(t, "the guest has stopped typing", func() bool { return !types() })
}

func (p party) ephemeral(t *testing.T, room string) []gjson.Result {
	t.Helper()
	return p.sync(t, "", "").Get("rooms.join." + escapeKey(room) + ".ephemeral.events").Array()
}

// beOnline has the guest see what the host does at the moment.
func beOnline(t *testing.T, host, guest party) {
	room := together(t, host, guest)
	word := "busy in " + room
	waitFor(t, "the guest sees the host's status", func() bool {
		host.ok(t, "PUT", clientV3+"/presence/"+url.PathEscape(host.id)+"/status", map[string]any{"presence": "online", "status_msg": word})
		for _, e := range guest.sync(t, "", "").Get("presence.events").Array() {
			if e.Get("sender").Str == host.id && e.Get("content.status_msg").Str == word {
				return true
			}
		}
		time.Sleep(200 * time.Millisecond)
		return false
	})
}

// findRooms has the guest look through the host's directory.
func findRooms(t *testing.T, host, guest party) {
	name := "Market of " + host.server
	room := host.makeRoom(t, "public_chat", "11", map[string]any{"visibility": "public", "name": name, "room_alias_name": "market", "topic": "fish"})
	where := clientV3 + "/publicRooms?server=" + url.QueryEscape(host.server)
	listed := func(answer gjson.Result) bool {
		return answer.Get(`chunk.#(room_id=="`+room+`").name`).Str == name
	}
	waitFor(t, "the room is in the directory", func() bool { return listed(guest.ok(t, "GET", where, nil)) })
	if found := guest.ok(t, "POST", where, map[string]any{"filter": map[string]any{"generic_search_term": "Market of"}, "limit": 50}); !listed(found) {
		t.Errorf("searching finds %s", found.Raw)
	}
	alias := guest.ok(t, "GET", clientV3+"/directory/room/"+url.PathEscape("#market:"+host.server), nil)
	if alias.Get("room_id").Str != room || !strings.Contains(alias.Get("servers").Raw, host.server) {
		t.Errorf("the alias stands for %s", alias.Raw)
	}
	if a := guest.do(t, "GET", clientV3+"/directory/room/"+url.PathEscape("#nowhere:"+host.server), nil); a.status != http.StatusNotFound {
		t.Errorf("an alias that there isn't: %s", a)
	}
}

// showPictures has the guest look at a picture of the host's.
func showPictures(t *testing.T, host, guest party) {
	picture, err := os.ReadFile(paint(t))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, host.base+"/_matrix/media/v3/upload?filename=fire.png", bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "image/png")
	req.Header.Set("Authorization", "Bearer "+host.token)
	res, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(gjson.GetBytes(body.Bytes(), "content_uri").Str, "mxc://")
	if id == "" {
		t.Fatalf("uploading: %s", &body)
	}
	got := guest.do(t, "GET", "/_matrix/client/v1/media/download/"+id, nil)
	if got.status != http.StatusOK || !bytes.Equal(got.body, picture) || got.header.Get("Content-Type") != "image/png" {
		t.Errorf("downloading: %d %s, %d bytes", got.status, got.header.Get("Content-Type"), len(got.body))
	}
	small := guest.do(t, "GET", "/_matrix/client/v1/media/thumbnail/"+id+"?width=32&height=32&method=crop", nil)
	if config, _, err := image.DecodeConfig(bytes.NewReader(small.body)); err != nil || config.Width > 96 {
		t.Errorf("the thumbnail: %d, %d bytes, %d wide: %v", small.status, len(small.body), config.Width, err)
	}
	missing := guest.do(t, "GET", "/_matrix/client/v1/media/download/"+host.server+"/nosuchmedia", nil)
	if missing.status != http.StatusNotFound {
		t.Errorf("what there isn't: %s", missing)
	}
}

// reachDevices has a message reach the guest's device, and the guest learn of the host's
// devices.
func reachDevices(t *testing.T, host, guest party) {
	room := together(t, host, guest)
	host.ok(t, "PUT", clientV3+"/sendToDevice/m.test/"+url.PathEscape(room), map[string]any{"messages": map[string]any{guest.id: map[string]any{guest.device: map[string]any{"room": room}}}})
	waitFor(t, "the message arrives", func() bool { return strings.Contains(guest.sync(t, "", "").Get("to_device.events").Raw, room) })
}
