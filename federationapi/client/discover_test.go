package client

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hearth/internal/certificate"
	"hearth/internal/publicaddr"
	"hearth/internal/testenv"
)

// nameServer answers DNS queries on loopback: every name below test. is 127.0.0.1,
// and srv says which services there are.
func nameServer(t *testing.T, srv map[string]dnsmessage.SRVResource) *net.Resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			answerDNS(&m, srv)
			if reply, err := m.Pack(); err == nil {
				conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func answerDNS(m *dnsmessage.Message, srv map[string]dnsmessage.SRVResource) {
	q := m.Questions[0]
	m.Response, m.Additionals = true, nil
	h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
	name := q.Name.String()
	record, isService := srv[name]
	switch {
	case q.Type == dnsmessage.TypeSRV && isService:
		m.Answers = []dnsmessage.Resource{{Header: h, Body: &record}}
	case q.Type == dnsmessage.TypeA && strings.HasSuffix(name, ".test.") && !strings.HasPrefix(name, "_"):
		m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	case q.Type == dnsmessage.TypeSRV:
		m.RCode = dnsmessage.RCodeNameError
	}
}

func service(host string, port uint16) dnsmessage.SRVResource {
	return dnsmessage.SRVResource{Target: dnsmessage.MustNewName(host), Port: port}
}

// webServer serves the well-known documents of all names below test. on a port.
func webServer(t *testing.T, documents map[string]string) (port string, authority string) {
	dir := testenv.Dir(t)
	store, err := certificate.SelfSigned(dir, "*.test", slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{TLSConfig: &tls.Config{GetCertificate: store.Get}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		document := documents[host+r.URL.Path]
		if document == "" {
			document = documents[host]
		}
		if to, ok := strings.CutPrefix(document, "-> "); ok {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		if document == "" {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte(document))
	})}
	go server.ServeTLS(l, "", "")
	t.Cleanup(func() { server.Close() })
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, filepath.Join(dir, "federation.crt")
}

func newTestClient(t *testing.T, o Options) *Client {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	o.DB, o.ServerName, o.KeyID, o.PrivateKey = testenv.Open(t), "own.test", "ed25519:a", key
	c, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestDiscover finds servers in every way that the specification knows.
func TestDiscover(t *testing.T) {
	resolver := nameServer(t, map[string]dnsmessage.SRVResource{
		"_matrix-fed._tcp.new.test.": service("fed.test.", 1), "_matrix._tcp.new.test.": service("wrong.test.", 2),
		"_matrix._tcp.old.test.": service("older.test.", 3), "_matrix-fed._tcp.none.test.": service(".", 4),
	})
	port, authority := webServer(t, map[string]string{
		"a.test": `{"m.server":"192.0.2.1"}`, "b.test": `{"m.server":"[2001:db8::1]:9"}`, "c.test": `{"m.server":"x.test:9"}`,
		"d.test": `{"m.server":"new.test"}`, "e.test": `{"m.server":"old.test"}`, "f.test": `{"m.server":"x.test"}`,
		"redirect.test/.well-known/matrix/server": "-> /there", "redirect.test/there": `{"m.server":"x.test:7"}`,
		"loop.test": "-> /again", "plain.test": "-> http://a.test/", "big.test": strings.Repeat(" ", maxWellKnown) + `{"m.server":"x.test:7"}`,
		"text.test": "hello", "bad.test": `{"m.server":"x y"}`,
	})
	pool, err := certificate.Pool([]string{authority})
	if err != nil {
		t.Fatal(err)
	}
	c := newTestClient(t, Options{Resolver: resolver, RootCAs: pool, AllowPrivateRanges: true})
	c.wellKnownPort = port
	for server, want := range map[string]string{ // Host, certificate's name, address
		"192.0.2.7": "192.0.2.7 192.0.2.7 192.0.2.7:8448", "192.0.2.7:5": "192.0.2.7:5 192.0.2.7 192.0.2.7:5",
		"[2001:db8::7]": "[2001:db8::7] 2001:db8::7 [2001:db8::7]:8448", "a.test:5": "a.test:5 a.test a.test:5",
		"a.test": "192.0.2.1 192.0.2.1 192.0.2.1:8448", "b.test": "[2001:db8::1]:9 2001:db8::1 [2001:db8::1]:9",
		"c.test": "x.test:9 x.test x.test:9", "d.test": "new.test new.test fed.test:1", "e.test": "old.test old.test older.test:3",
		"f.test": "x.test x.test x.test:8448", "redirect.test": "x.test:7 x.test x.test:7",
		"new.test": "new.test new.test fed.test:1", "old.test": "old.test old.test older.test:3",
		"loop.test": "loop.test loop.test loop.test:8448", "plain.test": "plain.test plain.test plain.test:8448",
		"big.test": "big.test big.test big.test:8448", "text.test": "text.test text.test text.test:8448",
		"bad.test": "bad.test bad.test bad.test:8448", "none.test": "none.test none.test none.test:8448",
	} {
		for range 2 { // looked up, then remembered
			target, err := c.Discover(t.Context(), server, nil)
			if err != nil {
				t.Fatalf("%s: %v", server, err)
			}
			if got := target.Host + " " + target.TLSName + " " + strings.Join(target.Addresses, " "); got != want {
				t.Errorf("%s: %s, want %s", server, got, want)
			}
		}
	}
	for _, bad := range []string{"", "a b", "a:b", "a:0", "a:70000", "[::1", "[1.2.3.4]", "[fe80::1%eth0]", "a/b", "é"} {
		if _, err := c.Discover(t.Context(), bad, nil); err == nil {
			t.Errorf("%q was taken for a server name", bad)
		}
	}
}

// TestPrivateRanges refuses to connect inside, whatever name leads there.
func TestPrivateRanges(t *testing.T) {
	c := newTestClient(t, Options{Resolver: nameServer(t, nil)})
	for _, server := range []string{"inside.test:1", "127.0.0.1:1", "[::1]:1", "10.0.0.1:1", "169.254.169.254:80"} {
		_, err := c.Do(t.Context(), Request{Method: "GET", Server: server, URI: "/", Timeout: 5 * time.Second})
		var private *PrivateAddressError
		var unreachable *UnreachableError
		if !errors.As(err, &private) || !errors.As(err, &unreachable) {
			t.Errorf("%s: %v", server, err)
		}
	}
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2a00:1450::1": true, "64:ff9b::808:808": true, "2002:808:808::1": true,
		"0.0.0.0": false, "100.64.1.1": false, "172.16.0.1": false, "192.168.1.1": false, "224.0.0.1": false, "255.255.255.255": false,
		"::": false, "fe80::1": false, "fd00::1": false, "::ffff:10.0.0.1": false, "::10.0.0.1": false, "64:ff9b::a00:1": false,
		"2002:a00:1::1": false, "ff02::1": false, "198.18.0.1": false,
	} {
		if got := publicaddr.Is(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is public: %t", address, got)
		}
	}
}

// TestFailures leaves a dead server alone for a while, also after a restart, until it
// is heard of.
func TestFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	c := newTestClient(t, Options{AllowPrivateRanges: true})
	ask := func(c *Client) *UnreachableError {
		_, err := c.Do(t.Context(), Request{Method: "GET", Server: dead, URI: "/"})
		var e *UnreachableError
		if !errors.As(err, &e) {
			t.Fatalf("%v", err)
		}
		return e
	}
	for range 2 {
		if e := ask(c); !e.RetryAt.IsZero() {
			t.Fatalf("left alone too early: %v", e)
		}
	}
	if e := ask(c); e.RetryAt.IsZero() {
		t.Errorf("asked in spite of its failures: %v", e)
	}
	again, err := New(t.Context(), c.o)
	if err != nil {
		t.Fatal(err)
	}
	if e := ask(again); e.RetryAt.IsZero() {
		t.Errorf("a restart forgot the failures: %v", e)
	}
	again.Alive(dead)
	if at, err := again.RetryAt(t.Context(), dead); err != nil || !at.IsZero() {
		t.Errorf("%v %v", at, err)
	}
	impatient := newTestClient(t, Options{AllowPrivateRanges: true, MaxPause: time.Millisecond})
	for range 4 {
		if e := ask(impatient); !e.RetryAt.IsZero() {
			t.Errorf("left alone for longer than configured: %v", e)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// TestExplain says why a server can't be reached.
func TestExplain(t *testing.T) {
	port, authority := webServer(t, map[string]string{"x.test": `{}`})
	pool, err := certificate.Pool([]string{authority})
	if err != nil {
		t.Fatal(err)
	}
	resolver := nameServer(t, nil)
	for _, c := range []struct {
		server string
		o      Options
		want   string
	}{
		{"x y", Options{}, "is no server name"},
		{"x.test", Options{Deny: []string{"*.test"}}, "deny_servers"},
		{"x.test:" + port, Options{RootCAs: pool}, "federation.allow_private_ranges is off"},
		{"x.test:" + port, Options{AllowPrivateRanges: true}, "federation.trusted_ca_files"},
		{"127.0.0.1:" + port, Options{AllowPrivateRanges: true, RootCAs: pool}, "needs a certificate for its own name"},
		{"x.test:" + port, Options{AllowPrivateRanges: true, RootCAs: pool}, "Its keys can't be used"},
	} {
		c.o.Resolver = resolver
		var lines []string
		err := Explain(t.Context(), c.o, c.server, func(line string) { lines = append(lines, line) })
		if !errors.Is(err, ErrExplained) || !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, c.want) }) {
			t.Errorf("%s: no %q in %q (%v)", c.server, c.want, lines, err)
		}
	}
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add(`X-Matrix origin="a",key="b",sig="c\"",destination=d`)
	f.Fuzz(func(t *testing.T, header string) {
		if a, ok := ParseAuthorization(header); ok && (a.Origin == "" || a.Key == "" || a.Signature == "") {
			t.Errorf("%q reads as %+v", header, a)
		}
	})
}
