package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// A server that keeps failing isn't asked for a patience-th of the time since when it
	// does, so that after an outage of an hour it is found again within a minute.
	patience                  = 60
	minPause, defaultMaxPause = 10 * time.Second, time.Hour
	noteTimeout               = 10 * time.Second
	// maxError bounds the text of an error that is kept, in bytes.
	maxError = 500
)

// mayAsk refuses to ask servers that aren't allowed, this one, and those that failed
// too lately.
func (c *Client) mayAsk(ctx context.Context, r *Request) error {
	if r.Server == c.o.ServerName {
		return errors.New("a server doesn't ask itself")
	}
	if _, _, ok := SplitServerName(r.Server); !ok {
		return httpapi.InvalidParam("%.100q is no server name", r.Server)
	}
	if err := c.Allowed(r.Server); err != nil || r.Force {
		return err
	}
	d, err := c.Failure(ctx, r.Server)
	if err != nil {
		return err
	}
	if at := time.UnixMilli(d.RetryAt); d.Failures > 0 && time.Now().Before(at) {
		return &UnreachableError{Server: r.Server, RetryAt: at}
	}
	return nil
}

// RetryAt is when the server is asked again, the zero time for at once.
func (c *Client) RetryAt(ctx context.Context, server string) (time.Time, error) {
	d, err := c.Failure(ctx, server)
	if err != nil || d.Failures == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(d.RetryAt), nil
}

// Failure returns how the server failed last, from memory if it is known. One that
// answers has no failures.
func (c *Client) Failure(ctx context.Context, server string) (storage.Destination, error) {
	if d, ok := c.failures.Get(server); ok {
		return d, nil
	}
	d, err := c.db.GetDestination(ctx, server)
	if err == nil {
		c.failures.ContainsOrAdd(server, d)
	}
	return d, err
}

// failed notes that a server gave no answer, and why.
func (c *Client) failed(server string, why error) {
	ctx, cancel := context.WithTimeout(context.Background(), noteTimeout)
	defer cancel()
	d, err := c.Failure(ctx, server)
	if err != nil {
		c.log.Warn("reading how a server failed", "server", server, "err", err)
		return
	}
	now := time.Now()
	if d.Failures > 0 && now.Before(time.UnixMilli(d.RetryAt)) {
		return // one of several requests at once
	}
	if d.Failures == 0 {
		d.FailingSince = now.UnixMilli()
	}
	d.Failures++
	d.FailedAt = now.UnixMilli()
	text := strings.ToValidUTF8(strings.ReplaceAll(why.Error(), "\x00", ""), "\uFFFD")
	d.LastError = text[:min(len(text), maxError)]
	// The first failure costs nothing: it may have been a connection that had closed.
	pause := time.Duration(0)
	if d.Failures > 1 {
		pause = min(max(now.Sub(time.UnixMilli(d.FailingSince))/patience, minPause), c.o.MaxPause)
		pause -= rand.N(pause / 4)
	}
	d.RetryAt = now.Add(pause).UnixMilli()
	c.note(ctx, d)
}

// Alive notes that a server has been heard of: it is asked again at once.
func (c *Client) Alive(server string) {
	if d, ok := c.failures.Get(server); ok && d.Failures == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), noteTimeout)
	defer cancel()
	if d, err := c.Failure(ctx, server); err == nil && d.Failures > 0 {
		c.note(ctx, storage.Destination{Server: server})
	}
}

func (c *Client) note(ctx context.Context, d storage.Destination) {
	c.failures.Add(d.Server, d)
	if err := c.db.SetDestination(ctx, d); err != nil {
		c.log.Warn("noting how a server failed", "server", d.Server, "err", err)
	}
}

// key names the target among the connections that are kept: one to another place is
// never used for it.
func (t *Target) key() string {
	h := sha256.Sum256([]byte(t.Server + "\x00" + t.TLSName + "\x00" + strings.Join(t.Addresses, "\x00")))
	return hex.EncodeToString(h[:16])
}
