package federationapi

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/federationapi/client"
	"hearth/internal/certificate"
	"hearth/internal/httpapi"
	"hearth/internal/testenv"
	"hearth/roomserver"
	"hearth/storage"
)

type object = map[string]any

// hearth is a whole homeserver on loopback, as far as other servers see it.
type hearth struct {
	t      testing.TB
	name   string
	db     *storage.DB
	rooms  *roomserver.Server
	client *client.Client
	api    *API
	key    ed25519.PrivateKey
	close  func()
	// options are those of the client.
	options client.Options
	// policy, unless nil, answers as a policy server.
	policy http.HandlerFunc
	// front, if set, is asked instead of the server, which it is given.
	front atomic.Pointer[func(http.ResponseWriter, *http.Request, http.Handler)]
}

// newHearths starts servers that trust each other's certificates; change, if not
// nil, adjusts the options of each.
func newHearths(t testing.TB, n int, change func(i int, c *client.Options, o *Options)) []*hearth {
	t.Helper()
	var listeners []net.Listener
	var stores []*certificate.Store
	var authorities []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		dir := testenv.Dir(t)
		store, err := certificate.SelfSigned(dir, "127.0.0.1", slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.crt"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		listeners, stores, authorities = append(listeners, l), append(stores, store), append(authorities, files[0])
	}
	pool, err := certificate.Pool(authorities)
	if err != nil {
		t.Fatal(err)
	}
	var all []*hearth
	for i := range n {
		all = append(all, newHearth(t, listeners[i], stores[i], pool, func(c *client.Options, o *Options) {
			if change != nil {
				change(i, c, o)
			}
		}))
	}
	return all
}

func newHearth(t testing.TB, l net.Listener, store *certificate.Store, pool *x509.CertPool, change func(*client.Options, *Options)) *hearth {
	t.Helper()
	h := &hearth{t: t, name: l.Addr().String(), db: testenv.Open(t)}
	_, h.key, _ = ed25519.GenerateKey(nil) // never fails with the system's randomness
	h.rooms = roomserver.New(roomserver.Options{DB: h.db, ServerName: h.name, KeyID: "ed25519:a", PrivateKey: h.key, CacheBytes: 16 << 20,
		Profile: h.db.ProfileNames,
		AskPolicyServer: func(ctx context.Context, p *roomserver.PolicyServer, pdu gomatrixserverlib.PDU) (gomatrixserverlib.PDU, error) {
			return h.api.AskPolicyServer(ctx, p, pdu)
		}})
	co := client.Options{DB: h.db, ServerName: h.name, KeyID: "ed25519:a", PrivateKey: h.key, RootCAs: pool, AllowPrivateRanges: true}
	o := Options{DB: h.db, Rooms: h.rooms, Version: "test"}
	change(&co, &o)
	h.options = co
	var err error
	if h.client, err = client.New(background(t), co); err != nil {
		t.Fatal(err)
	}
	o.Client = h.client
	h.api = New(o)
	server := httpapi.NewServer(httpapi.Options{RateLimits: map[httpapi.RateClass]httpapi.Limit{httpapi.RateExpensive: {PerSecond: 100, Burst: 20}}})
	h.api.Register(server)
	server.Register([]string{"/_matrix/federation/v1"}, []httpapi.Route{
		h.api.signed("PUT", "/echo/{word}", func(r *http.Request, origin string, body json.RawMessage) (any, error) {
			return object{"origin": origin, "word": httpapi.Var(r, "word"), "query": r.URL.RawQuery, "body": body}, nil
		})})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front := h.front.Load(); front != nil {
			(*front)(w, r, server)
			return
		}
		if h.policy != nil && r.URL.Path == "/_matrix/policy/v1/sign" {
			h.policy(w, r)
			return
		}
		server.ServeHTTP(w, r)
	})
	serving := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{GetCertificate: store.Get}}
	go serving.ServeTLS(l, "", "")
	h.close = func() { h.api.sender.cancel(); h.client.Close(); serving.Close() }
	t.Cleanup(h.close)
	return h
}

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// get asks another server and returns its answer, which must not refuse.
func (h *hearth) get(from *hearth, uri string) object {
	h.t.Helper()
	var answer object
	if err := h.client.Get(background(h.t), from.name, uri, &answer); err != nil {
		h.t.Fatalf("GET %s: %v", uri, err)
	}
	return answer
}

// refused asks another server for what it must refuse.
func (h *hearth) refused(status int, code string, from *hearth, method, uri string, body any) {
	h.t.Helper()
	answer, err := h.client.Do(background(h.t), client.Request{Method: method, Server: from.name, URI: uri, Body: body})
	var e *client.RemoteError
	if !errors.As(err, &e) || e.Status != status || e.Code != code {
		h.t.Errorf("%s %s: %v %s, want %d %s", method, uri, err, answer, status, code)
	}
}
