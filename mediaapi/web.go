package mediaapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hearth/internal/publicaddr"
)

const (
	// webTimeout bounds the requests for a page, redirects and all, and as much again those
	// for what belongs to it.
	webTimeout = 20 * time.Second
	// maxWebRedirects bounds how often one leads to another.
	maxWebRedirects = 5
)

// errDenied says that the configuration keeps this server from asking for a page.
var errDenied = errors.New("pages of this address are not looked at")

// web asks for pages that users write of, at addresses of the public internet only.
type web struct {
	client *http.Client
	deny   []string
}

// newWeb returns a web. deny are hosts, *.example.org for all below a name, and
// beginnings of addresses without their scheme, such as example.org/private/.
func newWeb(allowPrivate bool, deny []string) *web {
	w := &web{deny: deny}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !allowPrivate {
		dialer.Control = publicaddr.Control // of the address that is really connected to
	}
	w.client = &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
			DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxWebRedirects {
				return errors.New("it redirects too often")
			}
			return w.check(r.URL)
		},
	}
	return w
}

// check returns nil for an address that may be asked for.
func (w *web) check(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return fmt.Errorf("%w: it is no address of a page", errDenied)
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	for _, pattern := range w.deny {
		pattern = strings.ToLower(pattern)
		below, wild := strings.CutPrefix(pattern, "*.")
		switch {
		case wild && strings.HasSuffix(host, "."+below), host == pattern:
			return errDenied
		case strings.Contains(pattern, "/") && strings.HasPrefix(host+strings.ToLower(u.EscapedPath()), pattern):
			return errDenied
		}
	}
	return nil
}

// page is what an address holds: at most limit bytes of it, decompressed.
type page struct {
	*http.Response
	Body io.ReadCloser
	// URL is where it was found, after redirects.
	URL *url.URL
}

// get asks for an address. The answer's body must be closed; it can be read as long as
// ctx lasts.
func (w *web) get(ctx context.Context, address, accept string) (*page, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: it is no address of a page", errDenied)
	}
	if err := w.check(u); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking for a page: %w", err)
	}
	req.Header.Set("User-Agent", "Hearth (bot; previews of links)")
	req.Header.Set("Accept", accept)
	res, err := w.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking for a page: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("the page's server answered %s", res.Status)
	}
	return &page{Response: res, Body: res.Body, URL: res.Request.URL}, nil
}
