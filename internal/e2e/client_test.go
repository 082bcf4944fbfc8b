package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

const (
	clientV3 = "/_matrix/client/v3"
	password = "correct horse battery staple"
)

// httpClient holds enough idle connections for every sender and reader of the
// crash test, and outlives any long poll.
var httpClient = &http.Client{
	Timeout:   90 * time.Second,
	Transport: &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 128},
}

// user is a session: where the server is, who asks, and with which token.
type user struct {
	base, id, device, token string
}

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json() gjson.Result { return gjson.ParseBytes(a.body) }

// errcode is the Matrix error code, "" if the body has none.
func (a answer) errcode() string { return a.json().Get("errcode").String() }

func (a answer) String() string {
	body := a.body
	if len(body) > 300 {
		body = append(body[:300:300], "…"...)
	}
	return fmt.Sprintf("%d %s", a.status, body)
}

// encode turns a body as tests write it into bytes: nil is none, strings are
// sent as they are, anything else as JSON.
func encode(body any) []byte {
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return []byte(b)
	case []byte:
		return b
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return b
}

// try makes a request; an error means that no whole answer came.
func (u *user) try(ctx context.Context, method, path string, body any) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.base+path, bytes.NewReader(encode(body)))
	if err != nil {
		return answer{}, fmt.Errorf("making the request %s %s: %w", method, path, err)
	}
	if u.token != "" {
		req.Header.Set("Authorization", "Bearer "+u.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, fmt.Errorf("reading the answer to %s %s: %w", method, path, err)
	}
	return answer{res.StatusCode, res.Header, b}, nil
}

// do makes a request and fails the test if no answer comes.
func (u *user) do(t testing.TB, method, path string, body any) answer {
	t.Helper()
	a, err := u.try(t.Context(), method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// ok makes a request that must succeed.
func (u *user) ok(t testing.TB, method, path string, body any) gjson.Result {
	t.Helper()
	a := u.do(t, method, path, body)
	if a.status != http.StatusOK {
		t.Fatalf("%s %s as %s: %s", method, path, u.id, a)
	}
	return a.json()
}

// refused makes a request that must be answered with the status and code.
func (u *user) refused(t testing.TB, status int, errcode, method, path string, body any) gjson.Result {
	t.Helper()
	a := u.do(t, method, path, body)
	if a.status != status || a.errcode() != errcode {
		t.Errorf("%s %s as %q: want %d %s, got %s", method, path, u.id, status, errcode, a)
	}
	return a.json()
}

// register makes an account by way of m.login.dummy.
func register(t testing.TB, base, name string) *user {
	t.Helper()
	anon := &user{base: base}
	return session(base, anon.ok(t, "POST", clientV3+"/register", map[string]any{
		"username": name, "password": password, "auth": map[string]any{"type": "m.login.dummy"},
	}))
}

// login starts a session of its own device; name is a localpart or a user ID.
func login(t testing.TB, base, name, password string) *user {
	t.Helper()
	anon := &user{base: base}
	return session(base, anon.ok(t, "POST", clientV3+"/login", loginBody(name, password)))
}

func loginBody(name, password string) map[string]any {
	return map[string]any{
		"type": "m.login.password", "password": password,
		"identifier": map[string]any{"type": "m.id.user", "user": name},
	}
}

func session(base string, answer gjson.Result) *user {
	return &user{base, answer.Get("user_id").String(), answer.Get("device_id").String(), answer.Get("access_token").String()}
}

// inRoom is the path of an endpoint below /rooms/{roomId}.
func inRoom(roomID, rest string) string {
	return clientV3 + "/rooms/" + url.PathEscape(roomID) + "/" + rest
}

func (u *user) createRoom(t testing.TB, body any) string {
	t.Helper()
	return u.ok(t, "POST", clientV3+"/createRoom", body).Get("room_id").String()
}

func (u *user) join(t testing.TB, room string) {
	t.Helper()
	u.ok(t, "POST", inRoom(room, "join"), map[string]any{})
}

// act does what a moderator does to target: invite, kick, ban or unban.
func (u *user) act(t testing.TB, room, action, target string) {
	t.Helper()
	u.ok(t, "POST", inRoom(room, action), map[string]any{"user_id": target})
}

// say sends a text whose body is also its transaction ID, and returns the event's ID.
func (u *user) say(t testing.TB, room, text string) string {
	t.Helper()
	path := inRoom(room, "send/m.room.message/"+url.PathEscape(text))
	return u.ok(t, "PUT", path, textMessage(text)).Get("event_id").String()
}

func textMessage(text string) map[string]any {
	return map[string]any{"msgtype": "m.text", "body": text}
}

func (u *user) setState(t testing.TB, room, eventType, stateKey string, content any) string {
	t.Helper()
	return u.ok(t, "PUT", inRoom(room, "state/"+eventType+"/"+url.PathEscape(stateKey)), content).Get("event_id").String()
}

// sync asks once, without waiting; since is "" for a first sync, filter "" for none.
func (u *user) sync(t testing.TB, since, filter string) gjson.Result {
	t.Helper()
	return u.ok(t, "GET", syncPath(since, filter, 0), nil)
}

func syncPath(since, filter string, timeout time.Duration) string {
	q := url.Values{"timeout": {fmt.Sprint(timeout.Milliseconds())}}
	if since != "" {
		q.Set("since", since)
	}
	if filter != "" {
		q.Set("filter", filter)
	}
	return clientV3 + "/sync?" + q.Encode()
}

// escapeKey makes a room ID or event type a gjson path element.
func escapeKey(key string) string {
	return strings.NewReplacer(".", `\.`, "*", `\*`, "?", `\?`, "|", `\|`, "#", `\#`, "@", `\@`, "!", `\!`).Replace(key)
}
