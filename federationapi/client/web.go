package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// newWebClient returns what asks for pages by name, as a browser would.
func (c *Client) newWebClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return c.dialer().DialContext(ctx, network, address)
			},
			TLSClientConfig:        c.tlsConfig(""),
			TLSHandshakeTimeout:    handshakeTimeout,
			ForceAttemptHTTP2:      true, // with a TLSClientConfig of its own it isn't by itself
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return errors.New("it redirects too often")
			}
			if r.URL.Scheme != "https" {
				return errors.New("it redirects to a page without TLS")
			}
			return nil
		},
	}
}

// Follow asks for what another server has pointed to, without saying who asks, and
// returns the answer, whose status is 200, with the body still to be read and closed.
func (c *Client) Follow(ctx context.Context, server, location string) (*http.Response, error) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, &RemoteError{Server: server, Status: http.StatusBadGateway, Message: "It points to what is no https:// URL"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("User-Agent", "Hearth")
	res, err := c.web.Do(req)
	if err != nil {
		return nil, &UnreachableError{Server: server, Err: err}
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, &RemoteError{Server: server, Status: http.StatusBadGateway, Message: "It points to what isn't there: " + res.Status}
	}
	return res, nil
}
