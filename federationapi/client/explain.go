package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ErrExplained is the result of explaining a server that can't be talked with: why
// has been said.
var ErrExplained = errors.New("the server can't be talked with")

const explainTimeout = 2 * time.Minute

// Explain tries, step by step, to reach a server as New's client would, and says in
// words what it finds. Of the options it needs no database; without a key it doesn't try
// whether the server takes what this one signs.
func Explain(ctx context.Context, o Options, server string, say func(line string)) error {
	c, err := newClient(o)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.explain(ctx, server, say)
}

func (c *Client) explain(ctx context.Context, server string, say func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	if _, _, ok := SplitServerName(server); !ok {
		say(fmt.Sprintf("%q is no server name.", server))
		return ErrExplained
	}
	if c.Allowed(server) != nil {
		say(fmt.Sprintf("%s isn't among federation.allow_servers, or is among federation.deny_servers.", server))
		return ErrExplained
	}
	target, err := c.Discover(ctx, server, say)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", server, err)
	}
	say(fmt.Sprintf("So requests go to %s; Host is %s, and the certificate must be for %s.",
		strings.Join(target.Addresses, ", or else "), target.Host, target.TLSName))
	reached := false
	for _, address := range target.Addresses {
		reached = c.explainAddress(ctx, target, address, say) || reached
	}
	if !reached {
		return ErrExplained
	}
	return c.explainAnswers(ctx, server, say)
}

// explainAddress tries one address and reports whether it could be used.
func (c *Client) explainAddress(ctx context.Context, target *Target, address string, say func(string)) bool {
	host, _, err := net.SplitHostPort(address)
	if err == nil {
		var ips []string
		if ips, err = c.o.Resolver.LookupHost(ctx, host); err == nil && ips[0] != host {
			say(fmt.Sprintf("%s is at %s.", host, strings.Join(ips, ", ")))
		}
	}
	if err != nil {
		say(fmt.Sprintf("The address of %s can't be found: %s.", host, err))
		return false
	}
	conn, err := c.dialTLS(ctx, "tcp", address, target.TLSName)
	if err != nil {
		say(fmt.Sprintf("Connecting to %s failed: %s.%s", address, err, advice(err)))
		return false
	}
	defer conn.Close()
	if secure, ok := conn.(*tls.Conn); ok {
		state := secure.ConnectionState()
		leaf := state.PeerCertificates[0]
		say(fmt.Sprintf("Connected to %s with %s; the certificate is by %s and ends on %s.", address,
			tls.VersionName(state.Version), leaf.Issuer, leaf.NotAfter.UTC().Format(time.DateOnly)))
	}
	return true
}

// advice says what could be done about a failed connection.
func advice(err error) string {
	var private *PrivateAddressError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &private):
		return " If you trust this network, turn that on."
	case errors.As(err, &authority):
		return " If it is a private authority, name its file in federation.trusted_ca_files."
	case errors.As(err, &name):
		return " The server needs a certificate for its own name, or must delegate to the name that it has one for."
	}
	return ""
}

// explainAnswers asks the server what everyone may: its version and keys.
func (c *Client) explainAnswers(ctx context.Context, server string, say func(string)) error {
	var version struct {
		Server struct{ Name, Version string }
	}
	body, err := c.ask(ctx, server, "/_matrix/federation/v1/version")
	if err == nil {
		err = json.Unmarshal(body, &version)
	}
	if err != nil {
		say(fmt.Sprintf("Its version can't be had: %s.", err))
	} else {
		say(fmt.Sprintf("It is %s %s.", version.Server.Name, version.Server.Version))
	}
	body, err = c.ask(ctx, server, "/_matrix/key/v2/server")
	if err != nil {
		say(fmt.Sprintf("Its keys can't be had: %s.", err))
		return ErrExplained
	}
	published, err := CheckPublishedKeys(server, body)
	if err != nil {
		say(fmt.Sprintf("Its keys can't be used: %s.", err))
		return ErrExplained
	}
	if published.ValidUntil < time.Now().UnixMilli() {
		say("Its keys have expired: its clock or this one's is wrong.")
		return ErrExplained
	}
	var current, old []string
	for _, k := range published.Keys {
		if k.ExpiredAt == 0 {
			current = append(current, k.KeyID)
		} else {
			old = append(old, k.KeyID)
		}
	}
	slices.Sort(current)
	say(fmt.Sprintf("It signs with %s, for now valid until %s; old keys: %d.", strings.Join(current, ", "),
		time.UnixMilli(published.ValidUntil).UTC().Format(time.RFC3339), len(old)))
	if err := c.explainSigned(ctx, server, say); err != nil {
		return err
	}
	say(fmt.Sprintf("All is well: this server can talk with %s.", server))
	return nil
}

// explainSigned sends a transaction with nothing in it, signed: to take it the server must
// have got this one's keys.
func (c *Client) explainSigned(ctx context.Context, server string, say func(string)) error {
	if c.o.PrivateKey == nil || server == c.o.ServerName {
		return nil
	}
	res, err := c.send(ctx, &Request{Method: http.MethodPut, Server: server, URI: Path("/_matrix/federation/v1/send", rand.Text()),
		Body: map[string]any{"origin": c.o.ServerName, "origin_server_ts": time.Now().UnixMilli(), "pdus": []any{}}})
	if err != nil {
		say(fmt.Sprintf("Sending it something signed failed: %s.", err))
		return ErrExplained
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		say(fmt.Sprintf("It doesn't take what this server signs: %s. It has to reach this server for the keys, and not to bar it.", remoteError(server, res)))
		return ErrExplained
	}
	say("It takes what this server signs.")
	return nil
}

// ask is Do for what anybody may ask, without regard to earlier failures.
func (c *Client) ask(ctx context.Context, server, uri string) ([]byte, error) {
	res, err := c.send(ctx, &Request{Method: http.MethodGet, Server: server, URI: uri, Unsigned: true})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", res.Status)
	}
	return readAnswer(res, maxKeyAnswer)
}
