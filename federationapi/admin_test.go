package federationapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// TestDestinationsForAdmins has an admin, and nobody else, see how sending to servers
// goes, and have one tried at once that failed.
func TestDestinationsForAdmins(t *testing.T) {
	one, two, alice, _, room, _ := met(t)
	for _, r := range one.api.adminRoutes() {
		if _, err := r.Handle(httptest.NewRequest(r.Method, "/", nil), &httpapi.Requester{UserID: alice}); httpapi.CodeOf(err) != "M_FORBIDDEN" {
			t.Errorf("%s for everybody: %v", r.Path, err)
		}
	}
	one.say(room, alice, "hello")
	const dead = "127.0.0.1:1"
	one.append(&storage.Change{RemoteToDevice: []storage.RemoteToDevice{{Server: dead, Content: []byte(`{}`)}}})
	list := func(path string) gjson.Result {
		answer, err := one.api.getDestinations(httptest.NewRequest(http.MethodGet, path, nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		return gjson.ParseBytes(text)
	}
	eventually(t, "that one is failing and one current", func() bool {
		all := list("/destinations")
		return all.Get("total").Int() == 2 && all.Get(`destinations.#(destination=="`+dead+`").state`).Str == "failing" &&
			all.Get(`destinations.#(destination=="`+two.name+`").state`).Str == "current"
	})
	failed := list("/destinations?destination=0.1:1&limit=1").Get(`destinations.#(destination=="` + dead + `")`)
	if failed.Get("last_error").Str == "" || failed.Get("failure_ts").Int() == 0 || failed.Get("stream_positions_behind").Int() == 0 || failed.Get("retry_interval").Int() == 0 {
		t.Error(failed.Raw)
	}
	if page := list("/destinations?from=9223372036854775807"); len(page.Get("destinations").Array()) != 0 {
		t.Errorf("behind the end: %s", page.Raw)
	}
	if page := list("/destinations?from=1&limit=1&dir=b"); len(page.Get("destinations").Array()) != 1 || page.Get("next_token").Exists() {
		t.Error(page.Raw)
	}
}

// TestProfilesOfOthers asks another server for a profile once, and again after a while.
func TestProfilesOfOthers(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	bob, asked := two.user("bob"), 0
	if err := two.db.SetProfileField(background(t), bob, "displayname", json.RawMessage(`"Bob"`), 1000); err != nil {
		t.Fatal(err)
	}
	allow := func() error { asked++; return nil }
	for range 2 {
		if p, err := one.api.Profile(background(t), bob, allow); err != nil || string(p["displayname"]) != `"Bob"` {
			t.Errorf("%s %v", p, err)
		}
		if _, err := one.api.Profile(background(t), "@nobody+x:"+two.name, allow); httpapi.CodeOf(err) != "M_NOT_FOUND" {
			t.Errorf("nobody's profile: %v", err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	if _, err := one.api.Profile(background(t), "@x:127.0.0.1:1", allow); err == nil {
		t.Error("a dead server's user has a profile")
	}
}
