package syncapi

import (
	"strings"
	"testing"

	"hearth/internal/testenv"
)

// TestAccountData sets, reads and deletes account data: devices that knew it are told
// that it is gone, others aren't told of it at all.
func TestAccountData(t *testing.T) {
	w := newWorld(t)
	alice := w.client("alice")
	room := w.newRoom("alice")
	const base = "/user/@alice:test.local"
	const unstable = "/_matrix/client/unstable/org.matrix.msc3391/user/@alice:test.local"
	inRoom := "/rooms/" + room
	for _, at := range []string{"", inRoom} {
		w.ok("PUT", base+at+"/account_data/org.example.kept", alice.token, map[string]any{"a": 1})
		w.ok("PUT", base+at+"/account_data/org.example.gone", alice.token, map[string]any{"b": 2})
		w.ok("PUT", base+at+"/account_data/org.example.emptied", alice.token, map[string]any{"c": 3})
	}
	alice.sync(0)
	for _, at := range []string{"", inRoom} {
		for range 2 {
			w.ok("DELETE", unstable+at+"/account_data/org.example.gone", alice.token, nil)
		}
		w.ok("DELETE", unstable+at+"/account_data/org.example.never", alice.token, nil)
		w.ok("PUT", base+at+"/account_data/org.example.emptied", alice.token, map[string]any{})
		for _, gone := range []string{"gone", "emptied", "never"} {
			status, answer := w.do("GET", base+at+"/account_data/org.example."+gone, alice.token, nil)
			want(t, "reading what is gone", []any{status, answer.Get("errcode").Str}, "[404 M_NOT_FOUND]")
		}
		for _, method := range []string{"PUT", "DELETE"} {
			for _, managed := range []string{"m.fully_read", "m.push_rules"} {
				path := map[string]string{"PUT": base, "DELETE": unstable}[method] + at + "/account_data/" + managed
				status, answer := w.do(method, path, alice.token, map[string]any{})
				want(t, method+" "+managed, []any{status, answer.Get("errcode").Str}, "[405 M_BAD_JSON]")
			}
		}
	}
	status, answer := w.do("DELETE", unstable+"x/account_data/org.example.kept", alice.token, nil)
	want(t, "deleting another's", []any{status, answer.Get("errcode").Str}, "[403 M_FORBIDDEN]")

	w = w.restart() // nor does a restart keep a device from knowing
	alice.w = w
	next := alice.sync(0)
	for _, data := range []string{next.Get("account_data.events").Raw, joined(next, room).Get("account_data.events").Raw} {
		if !strings.Contains(data, `{"content":{},"type":"org.example.gone"}`) || !strings.Contains(data, `{"content":{},"type":"org.example.emptied"}`) || strings.Contains(data, "kept") {
			t.Errorf("what is new: %s", data)
		}
	}
	fresh := w.client("alice").sync(0)
	slider := w.slider("alice")
	slider.lists, slider.extensions = window(10, 5, `[]`), `{"account_data":{"enabled":true}}`
	slid := slider.sync(0).Get("extensions.account_data")
	inSlidingRoom := ""
	for _, data := range slid.Get("rooms").Map() {
		inSlidingRoom += data.Raw
	}
	for _, data := range []string{fresh.Get("account_data.events").Raw, joined(fresh, room).Get("account_data.events").Raw,
		slid.Get("global").Raw, inSlidingRoom} {
		if strings.Contains(data, "gone") || strings.Contains(data, "emptied") || !strings.Contains(data, "kept") {
			t.Errorf("to a new device: %s", data)
		}
	}
}

// TestAccountDataLimits: who has as much as there may be can still change what there is, and read markers are ids.
func TestAccountDataLimits(t *testing.T) {
	w := newWorld(t)
	alice := w.client("alice")
	room := w.newRoom("alice")
	const at = "/user/@alice:test.local/account_data/org.example."
	refused := func(code, method, path string, body any) {
		t.Helper()
		status, answer := w.do(method, path, alice.token, body)
		want(t, method+" "+path, []any{status, answer.Get("errcode").Str}, "[400 "+code+"]")
	}
	w.ok("PUT", at+"mine", alice.token, map[string]any{"a": 1})
	testenv.Exec(t, w.dsn, `INSERT INTO account_data (position, user_id, type, content) SELECT 1, '@alice:test.local', 'n' || n, '{}' FROM generate_series(2, 10000) AS n`)
	w.ok("PUT", at+"mine", alice.token, map[string]any{"a": 2})
	refused("M_USER_LIMIT_EXCEEDED", "PUT", at+"more", map[string]any{"a": 1})
	testenv.Exec(t, w.dsn, `DELETE FROM account_data WHERE type <> 'org.example.mine'`)
	w.ok("PUT", at+"more", alice.token, map[string]any{"a": 1})
	testenv.Exec(t, w.dsn, `UPDATE account_data SET content = '{"a":"' || repeat('x', 34000000) || '"}' WHERE type = 'org.example.more'`)
	refused("M_USER_LIMIT_EXCEEDED", "PUT", at+"mine", map[string]any{"a": 3})
	w.ok("PUT", at+"more", alice.token, map[string]any{"a": 1})
	w.ok("PUT", at+"mine", alice.token, map[string]any{"a": 3})
	refused("M_INVALID_PARAM", "POST", "/rooms/"+room+"/read_markers", map[string]any{"m.fully_read": "$" + strings.Repeat("x", 255)})
}
