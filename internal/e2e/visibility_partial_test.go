package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// holding starts a server that others are told no room's state by, so that who joins a room
// by way of it doesn't know its members, until release is called.
func holding(t *testing.T) (s *server, name string, release func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	name = l.Addr().String()
	behind := freeAddress(t)
	s = startServer(t, "server_name="+name, "listen.federation="+behind, "federation.enabled=true",
		"federation.allow_private_ranges=true", "federation.verify_certificates=false")
	released := make(chan struct{})
	var once sync.Once
	release = func() { once.Do(func() { close(released) }) }
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: behind})
			r.Out.Host = r.In.Host
		},
	}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/v1/state") {
			select {
			case <-released:
			case <-r.Context().Done():
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	front.Listener.Close()
	front.Listener = l
	front.StartTLS()
	t.Cleanup(func() {
		release()
		front.Close()
	})
	return s, name, release
}

// TestVisibilityOfPartialRooms asks what is seen of a room that was joined by way of another
// server and whose members aren't known yet: by who joined it, and by a stranger.
func TestVisibilityOfPartialRooms(t *testing.T) {
	one, nameOne, release := holding(t)
	two, _ := federating(t)
	alice := register(t, one.base, "alice")
	bob, carol := register(t, two.base, "bob"), register(t, two.base, "carol")
	rooms := map[string]string{}
	for _, visibility := range []string{"world_readable", "shared", "invited", "joined"} {
		room := alice.createRoom(t, map[string]any{"preset": "public_chat", "initial_state": []any{map[string]any{
			"type": "m.room.history_visibility", "state_key": "", "content": map[string]any{"history_visibility": visibility}}}})
		rooms[visibility] = room
		alice.say(t, room, "before")
		bob.ok(t, "POST", clientV3+"/join/"+room+"?via="+nameOne, map[string]any{})
		said := alice.say(t, room, "after")
		waitFor(t, "bob's server hears alice", func() bool { return bob.do(t, "GET", inRoom(room, "event/"+said), nil).status == http.StatusOK })
		for _, path := range []string{"messages?dir=b", "event/" + said, "context/" + said, "state", "state/m.room.create/", "members", "joined_members"} {
			if visibility == "world_readable" {
				break // and waits for the members
			}
			if answer := carol.do(t, "GET", inRoom(room, path), nil); answer.status == http.StatusOK {
				t.Errorf("%s: a stranger asks for %s: %s", visibility, path, answer)
			}
		}
		if answer := carol.sync(t, "", ""); strings.Contains(answer.Raw, room) {
			t.Errorf("%s: a stranger is shown %s", visibility, answer.Raw)
		}
		if shown := shownOf(t, bob, room, true); !isRight(shown, visibility) {
			t.Errorf("%s: who loads members lazily is shown %q", visibility, shown)
		}
		if shown := shownOf(t, bob, room, false); shown != "" {
			t.Errorf("%s: who wants all members is shown %q", visibility, shown)
		}
	}
	release()
	for visibility, room := range rooms {
		waitFor(t, "all is shown of the room that is "+visibility, func() bool { return isRight(shownOf(t, bob, room, false), visibility) })
	}
}

// isRight reports whether what is shown is what was said since bob joined and, where he may know
// it, perhaps what was said before.
func isRight(shown, visibility string) bool {
	return strings.Contains(shown, "sync after") && strings.Contains(shown, "sliding after") &&
		(visibility == "world_readable" || visibility == "shared" || !strings.Contains(shown, "before"))
}

// shownOf is what both kinds of sync show first of what alice says in a room.
func shownOf(t *testing.T, u *user, room string, lazy bool) string {
	t.Helper()
	members := `["m.room.member","*"]`
	if lazy {
		members = `["m.room.member","$LAZY"]`
	}
	filter := fmt.Sprintf(`{"room":{"state":{"lazy_load_members":%v},"timeline":{"limit":100}}}`, lazy)
	body := fmt.Sprintf(`{"room_subscriptions":{%q:{"timeline_limit":100,"required_state":[%s]}}}`, room, members)
	var all []string
	for _, shown := range []struct{ how, raw string }{
		{"sync", u.sync(t, "", filter).Get("rooms.join." + escapeKey(room)).Raw},
		{"sliding", u.ok(t, "POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", body).Get("rooms." + escapeKey(room)).Raw},
	} {
		for _, word := range []string{"before", "after"} {
			if strings.Contains(shown.raw, `"body":"`+word+`"`) {
				all = append(all, shown.how+" "+word)
			}
		}
	}
	return strings.Join(all, ", ")
}
