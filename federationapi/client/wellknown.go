package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const wellKnownPath = "/.well-known/matrix/server"

const (
	maxWellKnown     = 64 << 10
	wellKnownTimeout = 30 * time.Second
	// How long an answer is believed that says nothing of it, and bounds for those
	// that do.
	wellKnownLifetime    = 24 * time.Hour
	minWellKnownLifetime = 5 * time.Minute
	maxWellKnownLifetime = 48 * time.Hour
	// wellKnownRetry is how long it is believed that there is no document,
	// wellKnownRetrySoon how long a host isn't asked that couldn't be.
	wellKnownRetry     = time.Hour
	wellKnownRetrySoon = 2 * time.Minute
)

// wellKnownAnswer is what a host delegates to, "" for nothing.
type wellKnownAnswer struct{ to string }

// lookupWellKnown returns the name that the host delegates to, "" for none. Only a
// request that was given up is an error: a document that can't be had counts as
// none, except that the last one is believed a while longer when the host is away.
func (c *Client) lookupWellKnown(ctx context.Context, host string, trace func(string)) (string, error) {
	if known, ok := c.hosts.get(host); ok {
		return known.to, nil
	}
	to, lifetime, err := c.fetchWellKnown(ctx, host)
	if ctx.Err() != nil {
		return "", fmt.Errorf("looking for https://%s%s: %w", host, wellKnownPath, ctx.Err())
	}
	if err != nil {
		trace(fmt.Sprintf("https://%s%s can't be used: %s.", host, wellKnownPath, err))
		if known, ok := c.hosts.last(host); ok && lifetime == wellKnownRetrySoon {
			to = known.to
		}
	}
	c.hosts.set(host, wellKnownAnswer{to}, lifetime)
	return to, nil
}

// fetchWellKnown returns what the document says and how long to believe it; with an
// error, how long not to ask again.
func (c *Client) fetchWellKnown(ctx context.Context, host string) (to string, lifetime time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, wellKnownTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(host, c.wellKnownPort)+wellKnownPath, nil)
	if err != nil {
		return "", wellKnownRetry, err
	}
	req.Host = host
	res, err := c.web.Do(req)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without its text, which repeats the URL
	}
	if err != nil {
		return "", wellKnownRetrySoon, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", wellKnownRetry, fmt.Errorf("the answer is %s", res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxWellKnown+1))
	if err != nil {
		return "", wellKnownRetry, fmt.Errorf("reading the answer: %w", err)
	}
	if len(text) > maxWellKnown {
		return "", wellKnownRetry, fmt.Errorf("it is larger than %d bytes", maxWellKnown)
	}
	var document struct {
		Server string `json:"m.server"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return "", wellKnownRetry, fmt.Errorf("it isn't the JSON it should be: %w", err)
	}
	if _, _, ok := SplitServerName(document.Server); !ok {
		return "", wellKnownRetry, fmt.Errorf("m.server is %.100q, which is no server name", document.Server)
	}
	return document.Server, cacheLifetime(res.Header, time.Now()), nil
}

// cacheLifetime is how long an answer may be kept by its headers, within bounds.
func cacheLifetime(h http.Header, now time.Time) time.Duration {
	lifetime := wellKnownLifetime
	if at, err := http.ParseTime(h.Get("Expires")); err == nil {
		lifetime = at.Sub(now)
	}
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(strings.ToLower(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minWellKnownLifetime
		case "max-age":
			if n, err := strconv.Atoi(strings.Trim(value, `"`)); err == nil {
				lifetime = min(time.Duration(n), maxWellKnownLifetime/time.Second) * time.Second
			}
		}
	}
	return min(max(lifetime, minWellKnownLifetime), maxWellKnownLifetime)
}
