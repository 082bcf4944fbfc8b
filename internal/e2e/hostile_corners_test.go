package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestHostilePaths asks for what isn't there.
func TestHostilePaths(t *testing.T) {
	s := newStand(t)
	for _, path := range []string{
		"/_matrix/client/v3/nosuch", "/_matrix/client/v9/sync", "/_matrix/client/", "/_matrix/client", "/_matrix/nosuch", "/_matrix/",
		"/_matrix/client/v3/rooms/!a:hearth.test/nosuch", "/_matrix/client/v3/sync/more", "/_matrix/media/v3/nosuch",
		"/_matrix/client/v3//sync", "/_matrix/client/v3/../v3/nosuch", "/_matrix/client/unstable/org.example/nosuch",
	} {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
			s.send(t, s.alice, method, path, nil, "404 M_UNRECOGNIZED")
		}
	}
	s.checkTable(t)
	s.checkAlive(t)
}

// checkTable asserts that no implemented operation is missing in the table of
// endpoints, by the specification's own list if the environment has it.
func (s *stand) checkTable(t *testing.T) {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(os.Getenv("HEARTH_SPEC"), "endpoints.tsv"))
	if os.Getenv("HEARTH_SPEC") == "" {
		t.Log("HEARTH_SPEC isn't set: not comparing the table of endpoints with the specification's")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	braces := regexp.MustCompile(`\{[^}]*\}`)
	for line := range strings.Lines(string(list)) {
		fields := strings.Split(line, "\t")
		method, path := fields[1], fields[2]
		if fields[0] != "client-server" || strings.HasPrefix(path, "/.well-known") || s.inTable(method, path) {
			continue
		}
		a := (&user{base: s.server.base}).do(t, method, braces.ReplaceAllString(path, "x"), nil)
		if a.errcode() != "M_UNRECOGNIZED" {
			t.Errorf("%s %s is implemented but not in the table of endpoints: %s", method, path, a)
		}
	}
}

// inTable matches the specification's template with the table's paths, element by element.
func (s *stand) inTable(method, template string) bool {
	want := strings.Split(template, "/")
	return slices.ContainsFunc(endpoints, func(e endpoint) bool {
		have := strings.Split(e.path, "/")
		return e.method == method && len(have) == len(want) && matches(want, have)
	})
}

func matches(template, path []string) bool {
	for i, element := range template {
		if !strings.HasPrefix(element, "{") && element != path[i] {
			return false
		}
	}
	return true
}

// TestHostileQueries passes parameters that mean nothing.
func TestHostileQueries(t *testing.T) {
	s := newStand(t)
	for _, c := range []struct{ path, query, want string }{
		{"/sync", "since=garbage", "400 M_INVALID_PARAM"},
		{"/sync", "since=s99999999999999999999_1", "400 M_INVALID_PARAM"},
		{"/sync", "timeout=soon", "400 M_INVALID_PARAM"},
		{"/sync", "timeout=-1", "400 M_INVALID_PARAM"},
		{"/sync", "filter={", "400"},
		{"/sync", "filter=" + url.QueryEscape(`{"room":5}`), "400"},
		{"/sync", "filter=" + url.QueryEscape(`{"room":{"timeline":{"limit":-5}}}`), "400"},
		{"/sync", "filter=no-such-filter", "400"},
		{"/sync", "full_state=maybe", "400 M_INVALID_PARAM"},
		{"/sync", "set_presence=asleep", "400 M_INVALID_PARAM"},
		{"/rooms/{room}/messages", "", "400 M_MISSING_PARAM"},
		{"/rooms/{room}/messages", "dir=x", "400 M_INVALID_PARAM"},
		{"/rooms/{room}/messages", "dir=b&limit=-1", "400 M_INVALID_PARAM"},
		{"/rooms/{room}/messages", "dir=b&limit=many", "400 M_INVALID_PARAM"},
		{"/rooms/{room}/messages", "dir=b&from=garbage", "400 M_INVALID_PARAM"},
		{"/rooms/{room}/messages", "dir=b&to=garbage", "400 M_INVALID_PARAM"},
		{"/rooms/{room}/messages", "dir=b&filter=5", "400"},
		{"/rooms/{room}/context/{event}", "limit=-1", "400 M_INVALID_PARAM"},
		{"/rooms/{room}/context/{event}", "filter=[", "400"},
		{"/rooms/{room}/members", "membership=friend", "400 M_INVALID_PARAM"},
		{"/rooms/{room}/members", "at=garbage", "400 M_INVALID_PARAM"},
		{"/publicRooms", "limit=x", "400 M_INVALID_PARAM"},
		{"/publicRooms", "since=garbage", "400 M_INVALID_PARAM"},
		{"/register/available", "", "400 M_MISSING_PARAM"},
		{"/register/available", "username=" + url.QueryEscape("Not A Name"), "400 M_INVALID_USERNAME"},
		{"/register/available", "username=alice", "400 M_USER_IN_USE"},
	} {
		path := clientV3 + s.fillPath(c.path, nil) + "?" + c.query
		a := s.alice.do(t, "GET", path, nil)
		checkAnswer(t, "GET "+path, a)
		if got := fmt.Sprint(a.status, " ", a.errcode()); !strings.HasPrefix(got, c.want) {
			t.Errorf("GET %s: want %s, got %s", path, c.want, a)
		}
	}
	s.checkAlive(t)
}

// TestHostileContent puts into events, profiles and settings what a database,
// or another server, may choke on.
func TestHostileContent(t *testing.T) {
	s := newStand(t)
	big := strings.Repeat("x", 70_000)
	for _, c := range []struct{ method, path, body, want string }{
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"body":"` + big + `"}`, "413 M_TOO_LARGE"},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"n":1.5}`, "400 M_BAD_JSON"},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"n":1e3}`, ""},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"n":9007199254740992}`, "400 M_BAD_JSON"},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"n":-9007199254740992}`, "400 M_BAD_JSON"},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"body":"nul \u0000 inside"}`, ""},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"body":"half a pair \ud800"}`, ""},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"nul \u0000 key":1}`, ""},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"body":"a","body":"b"}`, ""},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"m.relates_to":"nothing","m.mentions":7}`, ""},
		{"PUT", "/rooms/{room}/send/m.room.message/{txn}", `{"m.relates_to":{"rel_type":5,"event_id":[]}}`, ""},
		{"PUT", "/rooms/{room}/send/" + strings.Repeat("t", 256) + "/{txn}", `{}`, "4"},
		{"PUT", "/rooms/{room}/send/nul%00type/{txn}", `{}`, ""},
		{"PUT", "/rooms/{room}/state/org.example/" + strings.Repeat("k", 256), `{}`, "4"},
		{"PUT", "/rooms/{room}/state/org.example/nul%00key", `{}`, ""},
		{"PUT", "/rooms/{room}/state/org.example/@bob:hearth.test", `{}`, "403 M_FORBIDDEN"},
		{"PUT", "/rooms/{room}/state/m.room.create/", `{}`, "4"},
		{"PUT", "/rooms/{room}/state/m.room.member/nonsense", `{"membership":"join"}`, "4"},
		{"PUT", "/rooms/{room}/state/m.room.member/{me}", `{"membership":"asleep"}`, "4"},
		{"PUT", "/rooms/{room}/state/m.room.member/{me}", `{}`, "4"},
		{"PUT", "/rooms/{room}/state/m.room.canonical_alias/", `{"alias":"#nosuch:hearth.test"}`, "400 M_BAD_ALIAS"},
		{"PUT", "/rooms/{room}/state/m.room.canonical_alias/", `{"alias":7}`, "4"},
		{"PUT", "/rooms/{room}/state/m.room.name/", `{"name":{"deep":[1,2,3]}}`, ""},
		{"PUT", "/rooms/{room}/state/m.room.history_visibility/", `{"history_visibility":5}`, ""},
		{"PUT", "/rooms/{room}/redact/$nosuch/{txn}", `{}`, ""},
		{"PUT", "/profile/{me}/displayname", `{"displayname":"nul \u0000"}`, ""},
		{"PUT", "/profile/{me}/displayname", `{"displayname":"` + big + `"}`, "4"},
		{"PUT", "/user/{me}/account_data/org.example", `{"nul":"\u0000","half":"\udfff"}`, ""},
		{"PUT", "/user/{me}/account_data/nul%00type", `{}`, ""},
		{"PUT", "/user/{me}/account_data/m.push_rules", `{}`, "405"},
		{"PUT", "/user/{me}/account_data/m.fully_read", `{}`, "405"},
		{"POST", "/user/{me}/filter", `{"room":{"timeline":{"types":["nul \u0000","***"],"limit":1}}}`, ""},
		{"PUT", "/devices/{device}", `{"display_name":"nul \u0000"}`, ""},
		{"PUT", "/presence/{me}/status", `{"presence":"online","status_msg":"nul \u0000"}`, ""},
		{"PUT", "/presence/{me}/status", `{"presence":"asleep"}`, "400"},
		{"PUT", "/rooms/{room}/typing/{me}", `{"typing":true,"timeout":-5}`, ""},
		{"POST", "/rooms/{room}/receipt/m.nosuch/{event}", `{}`, "400"},
		{"POST", "/createRoom", `{"room_version":"99"}`, "400 M_UNSUPPORTED_ROOM_VERSION"},
		{"POST", "/createRoom", `{"preset":"nosuch"}`, "400"},
		{"POST", "/createRoom", `{"room_alias_name":"square"}`, "400 M_ROOM_IN_USE"},
		{"POST", "/createRoom", `{"room_alias_name":"nul \u0000"}`, "4"},
		{"POST", "/createRoom", `{"invite":["nonsense"]}`, "4"},
		{"POST", "/createRoom", `{"name":"nul \u0000","topic":"half \ud800"}`, ""},
		{"POST", "/createRoom", `{"initial_state":[{"type":"m.room.create","content":{}}]}`, "4"},
		{"POST", "/rooms/{room}/invite", `{"user_id":"nonsense"}`, "4"},
		{"POST", "/rooms/{room}/invite", `{}`, "4"},
		{"POST", "/publicRooms", `{"filter":{"generic_search_term":"%_\\ \u0000 '"}}`, ""},
		{"POST", "/register", `{"username":"nul\u0000","password":"x","auth":{"type":"m.login.dummy"}}`, "400 M_INVALID_USERNAME"},
		{"POST", "/register", `{"username":"_under","password":"","auth":{"type":"m.login.dummy"}}`, "4"},
		{"POST", "/register", `{"username":"x","password":"y","auth":{"type":"m.login.nosuch"}}`, "4"},
		{"POST", "/login", `{"type":"m.login.nosuch"}`, "400 M_UNKNOWN"},
		{"POST", "/login", `{"type":"m.login.password","password":"nul\u0000","identifier":{"type":"m.id.user","user":"nul\u0000"}}`, "403 M_FORBIDDEN"},
		{"POST", "/login", `{"type":"m.login.password","password":"` + big + `","identifier":{"type":"m.id.user","user":"alice"}}`, "4"},
		{"POST", "/login", `{"type":"m.login.password","password":"x","identifier":{"type":"m.id.user","user":"@alice:elsewhere.test"}}`, "4"},
		{"POST", "/refresh", `{"refresh_token":"nosuch"}`, "401 M_UNKNOWN_TOKEN"},
		{"POST", "/refresh", `{}`, "4"},
	} {
		path := clientV3 + s.fillPath(c.path, nil)
		a := s.alice.do(t, c.method, path, c.body)
		request := fmt.Sprintf("%s %.120s %s", c.method, path, abridge(c.body))
		checkAnswer(t, request, a)
		if got := fmt.Sprint(a.status, " ", a.errcode()); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: want %s, got %s", request, c.want, a)
		}
	}
	// What was let in must come out again, whole and as JSON.
	for _, path := range []string{syncPath("", "", 0), inRoom(s.room, "messages?dir=b&limit=100"), inRoom(s.room, "state"), clientV3 + "/publicRooms"} {
		if a := s.alice.do(t, "GET", path, nil); a.status != http.StatusOK || !a.json().IsObject() && !a.json().IsArray() {
			t.Errorf("GET %s after all that: %s", path, a)
		}
	}
	s.checkAlive(t)
}
