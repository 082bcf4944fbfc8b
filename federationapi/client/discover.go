package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"hearth/internal/httpapi"
)

// Target is where a server's requests go.
type Target struct {
	// Server is the name that was looked for.
	Server string
	// Host is what the Host header says.
	Host string
	// TLSName is the name or address that the certificate must be for.
	TLSName string
	// Addresses are host:port to connect to, the preferred first.
	Addresses []string
}

// defaultPort is where servers listen that say nothing else.
const defaultPort = "8448"

const (
	// targetLifetime is how long what DNS said of a server is remembered.
	targetLifetime = 10 * time.Minute
	lookupTimeout  = 15 * time.Second
	// maxSRV bounds how many of a service's addresses are tried.
	maxSRV = 8
)

// Discover finds out where a server's requests go. trace, if not nil, is told each
// step in words, and makes them be taken anew, apart from well-known documents that
// are remembered.
//
// https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
func (c *Client) Discover(ctx context.Context, server string, trace func(step string)) (*Target, error) {
	if trace != nil {
		return c.discover(ctx, server, trace)
	}
	if t, ok := c.targets.get(server); ok {
		return &t, nil
	}
	found := c.finding.DoChan(server, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*lookupTimeout)
		defer cancel()
		t, err := c.discover(ctx, server, func(string) {})
		if err == nil {
			c.targets.set(server, *t, targetLifetime)
		}
		return t, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-found:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Target), nil
	}
}

func (c *Client) discover(ctx context.Context, server string, trace func(string)) (*Target, error) {
	host, port, ok := SplitServerName(server)
	if !ok {
		return nil, httpapi.InvalidParam("%q is no server name", server)
	}
	if t := direct(server, host, port, trace); t != nil {
		t.Server = server
		return t, nil
	}
	t, err := c.delegated(ctx, host, trace)
	if err != nil {
		return nil, err
	}
	if t == nil {
		t = c.bySRV(ctx, host, trace)
	}
	t.Server = server
	return t, nil
}

// direct is the target of a name that says itself where it is: by an address or a
// port. It returns nil for any other.
func direct(name, host, port string, trace func(string)) *Target {
	_, err := netip.ParseAddr(host)
	switch {
	case err == nil && port == "":
		trace(fmt.Sprintf("%s is an address without a port: port %s is meant.", name, defaultPort))
		port = defaultPort
	case err == nil:
		trace(fmt.Sprintf("%s is an address with a port: nothing else is looked up.", name))
	case port != "":
		trace(fmt.Sprintf("%s names a port: only its address is looked up.", name))
	default:
		return nil
	}
	return &Target{Host: name, TLSName: host, Addresses: []string{net.JoinHostPort(host, port)}}
}

// delegated is the target that the host's well-known document names, nil if it
// names none.
func (c *Client) delegated(ctx context.Context, host string, trace func(string)) (*Target, error) {
	to, err := c.lookupWellKnown(ctx, host, trace)
	if err != nil || to == "" {
		return nil, err
	}
	trace(fmt.Sprintf("https://%s%s delegates to %s.", host, wellKnownPath, to))
	name, port, ok := SplitServerName(to)
	if !ok {
		return nil, nil // lookupWellKnown accepts none such
	}
	if t := direct(to, name, port, trace); t != nil {
		return t, nil
	}
	return c.bySRV(ctx, name, trace), nil
}

// bySRV is the target of a name without a port: what its SRV records say, or else
// the default port.
func (c *Client) bySRV(ctx context.Context, host string, trace func(string)) *Target {
	t := &Target{Host: host, TLSName: host}
	for _, service := range []string{"matrix-fed", "matrix"} {
		list, err := c.lookupSRV(ctx, service, host)
		if err != nil {
			trace(fmt.Sprintf("There is no SRV record _%s._tcp.%s (%s).", service, host, err))
			continue
		}
		if t.Addresses = list; len(list) > 0 {
			trace(fmt.Sprintf("The SRV record _%s._tcp.%s names %s.", service, host, strings.Join(list, ", ")))
			return t
		}
	}
	t.Addresses = []string{net.JoinHostPort(host, defaultPort)}
	trace(fmt.Sprintf("Without a SRV record, %s at port %s is meant.", host, defaultPort))
	return t
}

// lookupSRV returns the addresses of a service in the order to try them.
func (c *Client) lookupSRV(ctx context.Context, service, host string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	_, records, err := c.o.Resolver.LookupSRV(ctx, service, "tcp", strings.TrimSuffix(host, ".")+".")
	var dns *net.DNSError
	if len(records) == 0 && errors.As(err, &dns) {
		return nil, errors.New(dns.Err)
	}
	if len(records) == 0 {
		return nil, err
	}
	var list []string
	for _, r := range records[:min(len(records), maxSRV)] {
		if target := strings.TrimSuffix(r.Target, "."); target != "" { // "." is: no such service
			list = append(list, net.JoinHostPort(target, strconv.Itoa(int(r.Port))))
		}
	}
	return list, nil
}
