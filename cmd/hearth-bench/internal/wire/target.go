// Package wire is the load tool's own HTTP/1.1 client and JSON scanner. The
// tool shares its processors with the server that it measures, so a request
// must cost as little as the bytes themselves: one goroutine per connection,
// one write, one parse in place. It knows HTTP and JSON, and nothing of Matrix.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Target is a server on this machine.
type Target struct {
	host  string   // as it stands in the URL, for the Host header
	path  string   // prefix of every request path, without a trailing slash
	addrs []string // host:port, IPv4 first
}

// ParseTarget resolves a base URL such as http://127.0.0.1:8008. It refuses
// anything but plain HTTP to loopback addresses: the tool makes load, and must
// not be able to make it for somebody else's server.
func ParseTarget(ctx context.Context, raw string) (Target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Target{}, fmt.Errorf("parse the server's URL: %w", err)
	}
	if u.Scheme != "http" || u.Hostname() == "" {
		return Target{}, fmt.Errorf("%q is not a URL of the form http://127.0.0.1:8008", raw)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	if err != nil {
		return Target{}, fmt.Errorf("resolve %s: %w", u.Hostname(), err)
	}
	t := Target{host: u.Host, path: strings.TrimSuffix(u.EscapedPath(), "/")}
	for _, ip := range ips {
		if !ip.IP.IsLoopback() {
			return Target{}, fmt.Errorf("%s is %s, not a loopback address: the load tool only drives servers on its own machine", u.Hostname(), ip.IP)
		}
		t.addrs = append(t.addrs, net.JoinHostPort(ip.String(), port))
	}
	slices.SortStableFunc(t.addrs, func(a, b string) int { return strings.Count(a, ":") - strings.Count(b, ":") })
	return t, nil
}

// URL is the address of a path.
func (t Target) URL(path string) string { return "http://" + t.host + t.path + path }

// Transport is for bodies that are too large for a Conn, which holds them in memory.
func (t Target) Transport(connections int) *http.Transport {
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) },
		MaxIdleConnsPerHost: connections, DisableCompression: true,
		ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
	}
}

func (t Target) dial(ctx context.Context) (net.Conn, error) {
	var failed []error
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: -1}
	for _, addr := range t.addrs {
		nc, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return nc, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}
