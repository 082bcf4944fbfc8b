package push_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/clientapi"
	"hearth/internal/httpapi"
	"hearth/internal/password"
	"hearth/internal/testenv"
	"hearth/push"
	"hearth/roomserver"
	"hearth/storage"
	"hearth/syncapi"
)

type object = map[string]any

// world is a homeserver behind real HTTP, on a database of its own.
type world struct {
	t       testing.TB
	dsn     string
	private bool
	db      *storage.DB
	rooms   *roomserver.Server
	sender  *push.Sender
	client  *clientapi.API
	sync    *syncapi.API
	http    *httptest.Server
	tokens  map[string]string
}

func newWorld(t testing.TB, private bool) *world {
	t.Helper()
	w := &world{t: t, dsn: testenv.Database(t), private: private, tokens: map[string]string{}}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	ctx := context.Background()
	var err error
	check := func() {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	w.db, err = storage.Open(ctx, w.dsn, storage.Options{MaxConnections: 10})
	check()
	book, err := push.NewBook(ctx, w.db, nil)
	check()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	w.rooms = roomserver.New(roomserver.Options{DB: w.db, ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: key,
		CacheBytes: 16 << 20, Profile: w.db.ProfileNames, Verdicts: book.Verdicts})
	w.sender, err = push.NewSender(ctx, push.SenderOptions{DB: w.db, Rooms: w.rooms, Book: book, AllowPrivateGateways: w.private})
	check()
	passwords, err := password.New(4)
	check()
	w.client = clientapi.New(clientapi.Options{DB: w.db, Rooms: w.rooms, Passwords: passwords, RegistrationEnabled: true,
		PushRules: book, Pushers: w.sender})
	w.sync = syncapi.New(syncapi.Options{DB: w.db, Rooms: w.rooms, ServerName: "test.local", CacheBytes: 16 << 20})
	server := httpapi.NewServer(httpapi.Options{Authenticate: w.client.Authenticate})
	w.client.Register(server)
	w.sync.Register(server)
	w.http = httptest.NewServer(server)
}

// stop ends the process; the database stays.
func (w *world) stop() {
	if w.http == nil {
		return
	}
	w.sync.Close()
	w.http.Close()
	w.client.Close()
	w.sender.Stop()
	w.db.Close()
	w.http = nil
}

// restart stops the process and starts another on the same database.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

func id(name string) string { return "@" + name + ":test.local" }

// do sends a request below /_matrix/client/v3, unless the path says otherwise, as a user, who is registered by their first.
func (w *world) do(method, path, name string, body any) (int, gjson.Result) {
	w.t.Helper()
	if name != "" && w.tokens[name] == "" {
		_, answer := w.do("POST", "/register", "", object{"username": name, "password": "secret", "auth": object{"type": "m.login.dummy"}})
		w.tokens[name] = answer.Get("access_token").Str
	}
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			w.t.Fatal(err)
		}
	}
	if !strings.HasPrefix(path, "/_matrix/") {
		path = "/_matrix/client/v3" + path
	}
	req, err := http.NewRequest(method, w.http.URL+path, bytes.NewReader(payload))
	if err != nil {
		w.t.Fatal(err)
	}
	if name != "" {
		req.Header.Set("Authorization", "Bearer "+w.tokens[name])
	}
	res, err := w.http.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || !gjson.ValidBytes(text) {
		w.t.Fatalf("%s %s: %d %q %v", method, path, res.StatusCode, text, err)
	}
	return res.StatusCode, gjson.ParseBytes(text)
}

func (w *world) ok(method, path, name string, body any) gjson.Result {
	w.t.Helper()
	status, answer := w.do(method, path, name, body)
	if status != http.StatusOK {
		w.t.Fatalf("%s %s by %s: %d %s", method, path, name, status, answer.Raw)
	}
	return answer
}

// refused is do for a request that must be refused so.
func (w *world) refused(want, method, path, name string, body any) {
	w.t.Helper()
	status, answer := w.do(method, path, name, body)
	if got := fmt.Sprint(status, " ", answer.Get("errcode").Str); got != want {
		w.t.Errorf("%s %s by %s: %s %s, want %s", method, path, name, got, answer.Get("error").Str, want)
	}
}

// room makes a room of the first user's with the others in it.
func (w *world) room(creator string, more object, others ...string) string {
	w.t.Helper()
	body := object{"preset": "public_chat"}
	for k, v := range more {
		body[k] = v
	}
	room := w.ok("POST", "/createRoom", creator, body).Get("room_id").Str
	for _, name := range others {
		w.ok("POST", "/join/"+room, name, object{})
	}
	return room
}

var txn int

func (w *world) send(room, sender, eventType string, content object) string {
	w.t.Helper()
	txn++
	return w.ok("PUT", fmt.Sprintf("/rooms/%s/send/%s/%d", room, eventType, txn), sender, content).Get("event_id").Str
}

func (w *world) say(room, sender, body string) string {
	w.t.Helper()
	return w.send(room, sender, "m.room.message", object{"msgtype": "m.text", "body": body})
}

func (w *world) read(room, reader, eventID string) {
	w.t.Helper()
	w.ok("POST", "/rooms/"+room+"/receipt/m.read/"+url.PathEscape(eventID), reader, object{})
}

// counts is the room's unread count as a fresh sync tells it: notifications/highlights.
func (w *world) counts(name, room string) string {
	w.t.Helper()
	n := w.ok("GET", "/sync", name, nil).Get("rooms.join." + gjson.Escape(room) + ".unread_notifications")
	return n.Get("notification_count").Raw + "/" + n.Get("highlight_count").Raw
}

func rulePath(kind, ruleID, more string) string {
	return "/pushrules/global/" + kind + "/" + url.PathEscape(ruleID) + more
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// gateway is a push gateway behind real HTTP.
type gateway struct {
	t      testing.TB
	http   *httptest.Server
	told   chan gjson.Result
	answer chan func(http.ResponseWriter) // for the next requests; then it accepts all
}

func newGateway(t testing.TB) *gateway {
	g := &gateway{t: t, told: make(chan gjson.Result, 100), answer: make(chan func(http.ResponseWriter), 10)}
	g.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.URL.Path != "/_matrix/push/v1/notify" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("a gateway was asked %s %s", r.Method, r.URL)
		}
		select {
		case answer := <-g.answer:
			answer(rw)
			if rw.Header().Get("Accepted") == "" {
				return
			}
		default:
			fmt.Fprint(rw, `{"rejected":[]}`)
		}
		g.told <- gjson.GetBytes(body, "notification")
	}))
	t.Cleanup(g.http.Close)
	return g
}

func (g *gateway) url() string { return g.http.URL + "/_matrix/push/v1/notify" }

// next is the next notification that the gateway accepts.
func (g *gateway) next() gjson.Result {
	g.t.Helper()
	select {
	case n := <-g.told:
		return n
	case <-time.After(20 * time.Second):
		g.t.Fatal("the gateway isn't told anything")
		return gjson.Result{}
	}
}

// nothing makes sure that the gateway isn't told anything more.
func (g *gateway) nothing() {
	g.t.Helper()
	select {
	case n := <-g.told:
		g.t.Errorf("the gateway is told %s", n.Raw)
	case <-time.After(300 * time.Millisecond):
	}
}

// pusher is the request for a pusher at the gateway.
func (g *gateway) pusher(pushkey string, data object) object {
	all := object{"url": g.url()}
	for k, v := range data {
		all[k] = v
	}
	return object{"kind": "http", "app_id": "org.example.app", "pushkey": pushkey, "app_display_name": "App",
		"device_display_name": "Phone", "lang": "en", "data": all}
}

// brief is what a notification says, in short.
func brief(n gjson.Result) string {
	parts := []string{n.Get("content.body").Str, "unread " + n.Get("counts.unread").Raw, n.Get("prio").Str,
		n.Get("devices.0.pushkey").Str, n.Get("devices.0.tweaks").Raw}
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}
