package syncapi

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

	"hearth/internal/httpapi"
	"hearth/internal/testenv"
	"hearth/roomserver"
	"hearth/storage"
)

// world is rooms and /sync behind real HTTP, on a database of its own. An access
// token is the user's localpart, a slash and the device.
type world struct {
	t     testing.TB
	dsn   string
	db    *storage.DB
	rooms *roomserver.Server
	api   *API
	http  *httptest.Server
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return startWorld(t, testenv.Database(t))
}

// startWorld starts a server on the database, as one process would.
func startWorld(t testing.TB, dsn string) *world {
	t.Helper()
	w := &world{t: t, dsn: dsn}
	var err error
	if w.db, err = storage.Open(context.Background(), dsn, storage.Options{MaxConnections: 10}); err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	w.rooms = roomserver.New(roomserver.Options{DB: w.db, ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: key, CacheBytes: 64 << 20})
	w.api = New(Options{DB: w.db, Rooms: w.rooms, ServerName: "test.local", CacheBytes: 64 << 20, PresenceEnabled: true, PosKey: []byte("a key")})
	server := httpapi.NewServer(httpapi.Options{Authenticate: func(_ context.Context, token string) (*httpapi.Requester, error) {
		name, device, _ := strings.Cut(token, "/")
		return &httpapi.Requester{UserID: "@" + name + ":test.local", DeviceID: device}, nil
	}})
	w.api.Register(server)
	w.http = httptest.NewServer(server)
	t.Cleanup(w.stop)
	return w
}

// stop ends the process; the database stays.
func (w *world) stop() {
	if w.http == nil {
		return
	}
	w.api.Close()
	w.http.Close()
	w.db.Close()
	w.http = nil
}

// restart stops the process and starts another on the same database.
func (w *world) restart() *world {
	w.t.Helper()
	w.stop()
	return startWorld(w.t, w.dsn)
}

func id(name string) string { return "@" + name + ":test.local" }

// do sends a request as the user, below /_matrix/client/v3 unless the path says otherwise.
func (w *world) do(method, path, token string, body any) (int, gjson.Result) {
	w.t.Helper()
	payload := []byte{}
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
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := w.http.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if !json.Valid(text) {
		w.t.Fatalf("%s %s: %d %q is not JSON", method, path, res.StatusCode, text)
	}
	return res.StatusCode, gjson.ParseBytes(text)
}

func (w *world) ok(method, path, token string, body any) gjson.Result {
	w.t.Helper()
	status, answer := w.do(method, path, token, body)
	if status != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s", method, path, status, answer.Raw)
	}
	return answer
}

// client is a device that syncs.
type client struct {
	w     *world
	name  string
	token string
	since string
	// filter is JSON or a filter's id.
	filter string
	more   url.Values
}

func (w *world) client(name string) *client { return &client{w: w, name: name, token: name + "/PHONE"} }

// sync syncs from where the last one ended and goes on from there.
func (c *client) sync(timeout time.Duration) gjson.Result {
	c.w.t.Helper()
	v := url.Values{}
	for k, values := range c.more {
		v[k] = values
	}
	if c.since != "" {
		v.Set("since", c.since)
	}
	if c.filter != "" {
		v.Set("filter", c.filter)
	}
	v.Set("timeout", fmt.Sprint(timeout.Milliseconds()))
	answer := c.w.ok("GET", "/sync?"+v.Encode(), c.token, nil)
	c.since = answer.Get("next_batch").Str
	return answer
}

// joined is a joined room's part of a sync.
func joined(answer gjson.Result, room string) gjson.Result { return section(answer, "join", room) }

// section is a room's part of a sync.
func section(answer gjson.Result, name, room string) gjson.Result {
	return answer.Get("rooms." + name + "." + gjson.Escape(room))
}

// bodies lists the texts of a room's timeline, and the types of what isn't a message.
func bodies(room gjson.Result) string {
	var all []string
	for _, e := range room.Get("timeline.events").Array() {
		if body := e.Get("content.body"); body.Exists() {
			all = append(all, body.Str)
		} else {
			all = append(all, short(e))
		}
	}
	return strings.Join(all, " ")
}

// short names an event: its type without m.room., and of member events who and what.
func short(e gjson.Result) string {
	kind := strings.TrimPrefix(e.Get("type").Str, "m.room.")
	if kind == "member" {
		name, _, _ := strings.Cut(e.Get("state_key").Str, ":")
		return name + ":" + e.Get("content.membership").Str
	}
	return kind
}

// stateOf lists the events of a room's state block, in alphabetical order.
func stateOf(room gjson.Result, block string) map[string]string {
	all := map[string]string{}
	for _, e := range room.Get(block + ".events").Array() {
		all[e.Get("type").Str+"|"+e.Get("state_key").Str] = e.Get("content").Raw
	}
	return all
}

// newRoom makes a public room of the user's.
func (w *world) newRoom(creator string, more ...roomserver.InitialEvent) string {
	w.t.Helper()
	room, err := w.rooms.NewRoom(context.Background(), roomserver.NewRoomRequest{Creator: id(creator), Version: "12",
		Events: append([]roomserver.InitialEvent{
			{Type: "m.room.member", StateKey: new(id(creator)), Content: map[string]any{"membership": "join"}},
			{Type: "m.room.power_levels", StateKey: new(""), Content: map[string]any{"users": map[string]any{}}},
			{Type: "m.room.join_rules", StateKey: new(""), Content: map[string]any{"join_rule": "public"}},
		}, more...)})
	if err != nil {
		w.t.Fatal(err)
	}
	return room
}

func (w *world) membership(room, sender, target, membership string) {
	w.t.Helper()
	_, err := w.rooms.SetMembership(context.Background(), roomserver.MembershipRequest{
		RoomID: room, Sender: id(sender), Target: id(target), Membership: membership})
	if err != nil {
		w.t.Fatalf("%s to %s by %s: %v", membership, target, sender, err)
	}
}

// rename gives a member another name in the room.
func (w *world) rename(room, name, displayName string) {
	w.t.Helper()
	_, err := w.rooms.SetMembership(context.Background(), roomserver.MembershipRequest{
		RoomID: room, Sender: id(name), Target: id(name), Membership: "join", Content: map[string]any{"displayname": displayName}})
	if err != nil {
		w.t.Fatalf("%s is called %s: %v", name, displayName, err)
	}
}

func (w *world) join(room string, names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.membership(room, name, name, "join")
	}
}

func (w *world) event(room, sender, eventType string, stateKey *string, content any) string {
	w.t.Helper()
	raw, err := json.Marshal(content)
	if err != nil {
		w.t.Fatal(err)
	}
	eventID, err := w.rooms.Send(context.Background(), roomserver.EventRequest{
		RoomID: room, Sender: id(sender), Type: eventType, StateKey: stateKey, Content: raw})
	if err != nil {
		w.t.Fatal(err)
	}
	return eventID
}

func (w *world) say(room, sender, body string) string {
	w.t.Helper()
	return w.event(room, sender, "m.room.message", nil, map[string]any{"msgtype": "m.text", "body": body})
}

func (w *world) read(room, reader, kind, eventID string, body any) {
	w.t.Helper()
	if body == nil {
		body = map[string]any{}
	}
	w.ok("POST", "/rooms/"+room+"/receipt/"+kind+"/"+url.PathEscape(eventID), reader+"/PHONE", body)
}

// redaction is the request of a sender to redact an event.
func redaction(room, sender, eventID string) roomserver.EventRequest {
	return roomserver.EventRequest{RoomID: room, Sender: id(sender), Type: "m.room.redaction", Redacts: eventID, Content: []byte(`{}`)}
}

func (w *world) redact(r roomserver.EventRequest) {
	w.t.Helper()
	if _, err := w.rooms.Send(context.Background(), r); err != nil {
		w.t.Fatal(err)
	}
}
