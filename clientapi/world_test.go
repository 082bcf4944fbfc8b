package clientapi

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hearth/delayed"
	"hearth/internal/httpapi"
	"hearth/internal/password"
	"hearth/push"
	"hearth/roomserver"
	"hearth/search"
	"hearth/storage"
)

// world is a homeserver's client-server API behind real HTTP, on a database of
// its own.
type world struct {
	t    testing.TB
	db   *storage.DB
	api  *API
	http *httptest.Server
	url  string
}

// newWorld starts a server; change, if not nil, adjusts its options.
func newWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	return worldAt(t, func(o *Options, _ string) {
		if change != nil {
			change(o)
		}
	})
}

// worldAt is newWorld for options that depend on the server's URL.
func worldAt(t testing.TB, change func(o *Options, url string)) *world {
	t.Helper()
	w := &world{t: t, db: testDB(t), http: httptest.NewUnstartedServer(nil)}
	w.url = "http://" + w.http.Listener.Addr().String()
	passwords, err := password.New(4)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		DB:                  w.db,
		Rooms:               testRooms(t, w.db),
		Passwords:           passwords,
		RegistrationEnabled: true,
	}
	change(&o, w.url)
	book, err := push.NewBook(t.Context(), w.db, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.PushRules = book
	if o.Pushers, err = push.NewSender(t.Context(), push.SenderOptions{DB: w.db, Rooms: o.Rooms, Book: book}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Pushers.Stop)
	if o.Search, err = search.New(t.Context(), search.Options{DB: w.db, Rooms: o.Rooms}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Search.Stop)
	o.People = search.NewPeople(search.PeopleOptions{DB: w.db, ServerName: "test.local"})
	t.Cleanup(o.People.Stop)
	if o.Delayed == nil {
		o.Delayed = delayed.New(delayed.Options{DB: w.db, Rooms: o.Rooms, MaxDelay: time.Hour, MaxPerUser: 5})
		o.Delayed.Start()
		t.Cleanup(o.Delayed.Stop)
	}
	w.api = New(o)
	server := httpapi.NewServer(httpapi.Options{Authenticate: w.api.Authenticate, Seen: w.api.Seen})
	w.api.Register(server)
	w.http.Config.Handler = server
	w.http.Start()
	t.Cleanup(func() {
		w.http.Close()
		w.api.Close()
	})
	return w
}

func testRooms(t testing.TB, db *storage.DB) *roomserver.Server {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return roomserver.New(roomserver.Options{DB: db, ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: key, CacheBytes: 16 << 20})
}

type object = map[string]any

// do sends a request below /_matrix/client/v3, or to path itself if it begins
// with /_ or /., and returns the status and the JSON of the answer.
func (w *world) do(method, path, token string, body any) (int, object) {
	w.t.Helper()
	var payload []byte
	switch b := body.(type) {
	case nil:
	case string:
		payload = []byte(b)
	default:
		var err error
		if payload, err = json.Marshal(body); err != nil {
			w.t.Fatal(err)
		}
	}
	if !strings.HasPrefix(path, "/_") && !strings.HasPrefix(path, "/.") {
		path = "/_matrix/client/v3" + path
	}
	req, err := http.NewRequest(method, w.url+path, bytes.NewReader(payload))
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := w.http.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var answer object
	if err := json.Unmarshal(text, &answer); err != nil {
		w.t.Fatalf("%s %s: %d %q is not a JSON object", method, path, res.StatusCode, text)
	}
	return res.StatusCode, answer
}

// ok is do for a request that must succeed.
func (w *world) ok(method, path, token string, body any) object {
	w.t.Helper()
	status, answer := w.do(method, path, token, body)
	if status != http.StatusOK {
		w.t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

// refused is do for a request that must be refused with this status and code.
func (w *world) refused(status int, code, method, path, token string, body any) object {
	w.t.Helper()
	got, answer := w.do(method, path, token, body)
	if got != status || fmt.Sprint(answer["errcode"]) != code {
		w.t.Errorf("%s %s: %d %v, want %d %s", method, path, got, answer, status, code)
	}
	return answer
}

// register makes an account with the password "secret-"+name and returns its
// access token.
func (w *world) register(name string) (token string) {
	w.t.Helper()
	answer := w.ok("POST", "/register", "", object{"username": name, "password": "secret-" + name,
		"device_id": "FIRST", "auth": object{"type": "m.login.dummy"}})
	return answer["access_token"].(string)
}

// login logs the user in with the password "secret-"+name.
func (w *world) login(name string, more object) object {
	w.t.Helper()
	body := object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": name}, "password": "secret-" + name}
	for k, v := range more {
		body[k] = v
	}
	return w.ok("POST", "/login", "", body)
}

// ignore sets whom a user ignores.
func (w *world) ignore(userID, users string) {
	w.t.Helper()
	list := storage.AccountData{UserID: userID, Type: "m.ignored_user_list", Content: []byte(`{"ignored_users":` + users + `}`)}
	if err := w.db.Stream.Append(w.t.Context(), &storage.Change{AccountData: []storage.AccountData{list}}); err != nil {
		w.t.Fatal(err)
	}
}

// passwordAuth is the auth member that proves the user's password.
func passwordAuth(name, session string) object {
	auth := object{"type": "m.login.password", "password": "secret-" + name, "identifier": object{"type": "m.id.user", "user": name}}
	if session != "" {
		auth["session"] = session
	}
	return auth
}

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
