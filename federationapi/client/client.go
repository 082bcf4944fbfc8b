// Package client asks other homeservers: it finds them, proves who this server is
// and makes sure who they are, and fetches and keeps the keys that they sign with.
package client

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// Options of New. ServerName, KeyID, PrivateKey and DB are required.
type Options struct {
	DB         *storage.DB
	ServerName string
	KeyID      string
	PrivateKey ed25519.PrivateKey
	// RootCAs are the authorities that are trusted; nil means the system's.
	RootCAs *x509.CertPool
	// InsecureSkipVerify believes any certificate.
	InsecureSkipVerify bool
	// Allow, unless empty, names the only servers to talk with, Deny those never to
	// talk with; *.example.org stands for all below a name.
	Allow, Deny []string
	// AllowPrivateRanges lets connections go to loopback and private addresses.
	AllowPrivateRanges bool
	// MaxPause bounds how long a server that fails is left alone; 0 means an hour.
	MaxPause time.Duration
	// Notaries are asked for the keys of servers that can't be reached.
	Notaries []string
	// Resolver looks names up; nil means the system's.
	Resolver *net.Resolver
	Logger   *slog.Logger
}

// Client asks other homeservers. All methods are safe for concurrent use.
type Client struct {
	o        Options
	db       *storage.DB
	log      *slog.Logger
	http     *http.Client // for servers, addressed by Target
	web      *http.Client // for names, as a browser would
	targets  *cache[Target]
	hosts    *cache[wellKnownAnswer]
	finding  singleflight.Group
	failures *lru.Cache[string, storage.Destination]
	// wellKnownPort is where names are asked what they delegate to.
	wellKnownPort string
	// Keys are the keys of other servers, and of this one.
	Keys *Keys
}

const (
	dialTimeout      = 15 * time.Second
	handshakeTimeout = 15 * time.Second
	idleTimeout      = 90 * time.Second
	maxIdle          = 500
	// maxConnections bounds the connections to one server.
	maxConnections = 16
	// maxRemembered bounds how many servers each cache remembers.
	maxRemembered = 10_000
	// maxRedirects bounds how often a page by name may lead to another.
	maxRedirects = 10
)

// New returns a client. It writes its own key to the database, for the time after
// the key has been replaced by another.
func New(ctx context.Context, o Options) (*Client, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	if c.Keys, err = newKeys(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

// newClient returns a client without keys, which can ask only what needs none.
func newClient(o Options) (*Client, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxPause == 0 {
		o.MaxPause = defaultMaxPause
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	c := &Client{o: o, db: o.DB, log: o.Logger, targets: newCache[Target](), hosts: newCache[wellKnownAnswer](), wellKnownPort: "443"}
	var err error
	if c.failures, err = lru.New[string, storage.Destination](maxRemembered); err != nil {
		return nil, fmt.Errorf("making the list of failures: %w", err)
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialTLSContext:         c.dialTarget,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           maxIdle,
			MaxIdleConnsPerHost:    4,
			MaxConnsPerHost:        maxConnections,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.web = c.newWebClient()
	return c, nil
}

// ServerName is the name of this server.
func (c *Client) ServerName() string { return c.o.ServerName }

// MaxPause is how long a server that fails is left alone at most.
func (c *Client) MaxPause() time.Duration { return c.o.MaxPause }

// Close drops the idle connections.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.web.CloseIdleConnections()
}

// Allowed returns nil if this server talks with the other one at all.
func (c *Client) Allowed(server string) error {
	if MatchesAny(c.o.Deny, server) || len(c.o.Allow) > 0 && !MatchesAny(c.o.Allow, server) {
		return httpapi.Forbidden("This server doesn't federate with %s", server)
	}
	return nil
}

// targetKey is where a request's context holds its Target.
type targetKey struct{}

// dialTarget connects to the target of the request: to the first of its addresses
// that can be reached and proves to be who it should.
func (c *Client) dialTarget(ctx context.Context, network, _ string) (net.Conn, error) {
	target, ok := ctx.Value(targetKey{}).(*Target)
	if !ok {
		return nil, fmt.Errorf("a request without a target")
	}
	var failed error
	for _, address := range target.Addresses {
		conn, err := c.dialTLS(ctx, network, address, target.TLSName)
		if err == nil {
			return conn, nil
		}
		failed = fmt.Errorf("%s: %w", address, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

func (c *Client) dialTLS(ctx context.Context, network, address, name string) (net.Conn, error) {
	raw, err := c.dialer().DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, c.tlsConfig(name))
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// tlsConfig checks the certificate for a name or an address. An address isn't sent
// as SNI, as crypto/tls does by itself.
func (c *Client) tlsConfig(name string) *tls.Config {
	return &tls.Config{
		ServerName: name, RootCAs: c.o.RootCAs, InsecureSkipVerify: c.o.InsecureSkipVerify,
		NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12,
	}
}
