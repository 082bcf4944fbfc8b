// Package identity asks identity servers: who has an address, to invite who has none yet,
// and to publish addresses or take them back.
package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/publicaddr"
)

const (
	dialTimeout    = 10 * time.Second
	requestTimeout = 20 * time.Second
	// maxAnswer bounds an answer in bytes.
	maxAnswer = 64 << 10
)

// Options of New. All but the first three may be left out.
type Options struct {
	ServerName string
	KeyID      string
	PrivateKey ed25519.PrivateKey
	// Allowed are the only servers to ask; *.example.org stands for all below a name.
	Allowed []string
	// AllowPrivateRanges lets connections go to loopback and private addresses.
	AllowPrivateRanges bool
	// RootCAs are the authorities that are trusted; nil means the system's.
	RootCAs *x509.CertPool
}

// Client asks identity servers. All methods are safe for concurrent use. One that is nil
// trusts none.
type Client struct {
	o    Options
	http *http.Client
}

// New returns a client.
func New(o Options) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !o.AllowPrivateRanges {
		dialer.Control = publicaddr.Control // of the address that is really connected to
	}
	return &Client{o: o, http: &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			MaxIdleConns:    10, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 32 << 10,
		},
		// A redirect could lead anywhere; it counts as a failure.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Allowed refuses what is no server's name, and servers that aren't trusted.
func (c *Client) Allowed(server string) error {
	if server == "" {
		return httpapi.MissingParam("id_server is missing")
	}
	if _, _, ok := client.SplitServerName(server); !ok {
		return httpapi.InvalidParam("id_server is no server name")
	}
	if c == nil || !client.MatchesAny(c.o.Allowed, server) {
		return httpapi.New(http.StatusBadRequest, "M_SERVER_NOT_TRUSTED", "This server doesn't trust the identity server %s", server)
	}
	return nil
}

// call is a request to an identity server.
type call struct {
	method, server, path string
	// token is the user's with the identity server. Without one the request is signed by
	// this server.
	token string
	body  any
}

// do makes a call and decodes what is answered. Errors are *httpapi.Error, for the client
// on whose behalf it is.
func (c *Client) do(ctx context.Context, q call, answer any) error {
	if err := c.Allowed(q.server); err != nil {
		return err
	}
	req, err := c.build(ctx, q)
	if err != nil {
		return err
	}
	status, body, err := c.send(req)
	if err != nil {
		e := httpapi.New(http.StatusBadGateway, "M_UNKNOWN", "The identity server %s can't be reached", q.server)
		e.Err = err
		return e
	}
	if status < 200 || status > 299 {
		return refusal(q.server, status, body)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return badAnswer(q.server, err)
	}
	return nil
}

func badAnswer(server string, err error) error {
	e := httpapi.New(http.StatusBadGateway, "M_UNKNOWN", "The identity server %s answered with what can't be used", server)
	e.Err = err
	return e
}

func (c *Client) build(ctx context.Context, q call) (*http.Request, error) {
	var text []byte
	if q.body != nil {
		var err error
		if text, err = json.Marshal(q.body); err != nil {
			return nil, fmt.Errorf("asking an identity server: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, q.method, "https://"+q.server+q.path, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("asking an identity server: %w", err)
	}
	authorization := "Bearer " + q.token
	if q.token == "" {
		authorization, err = client.Sign(client.SignedRequest{Content: text, DestinationIs: q.server, Method: q.method,
			Origin: c.o.ServerName, URI: q.path}, c.o.KeyID, c.o.PrivateKey)
		if err != nil {
			return nil, err
		}
	}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

func (c *Client) send(req *http.Request) (status int, body []byte, err error) {
	req.Header.Set("User-Agent", "Hearth")
	res, err := c.http.Do(req)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // its text names the URL, and with it perhaps a key
	}
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return res.StatusCode, body, err
}

// refusal passes an identity server's refusal on, except where it would have a client
// think that its session here has ended.
func refusal(server string, status int, body []byte) error {
	var answer struct {
		Code    string `json:"errcode"`
		Message string `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Code == "" || status < 400 || status >= 500 {
		return httpapi.New(http.StatusBadGateway, "M_UNKNOWN", "The identity server %s answered %d", server, status)
	}
	if status == http.StatusUnauthorized {
		status, answer.Code = http.StatusForbidden, "M_UNAUTHORIZED"
	}
	return httpapi.New(status, answer.Code, "%s says: %s", server, answer.Message)
}
