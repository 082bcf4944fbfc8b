package httpapi

import (
	"context"
	"net"
	"net/http"
	"time"
)

// nextRequestWithin is how long a connection may be idle after it was answered where
// it was parked.
const nextRequestWithin = 2 * time.Minute

type parkingKey struct{}

// place is what a connection's context knows of the parking.
type place struct {
	parking *Parking
	conn    *resumedConn // nil for a connection that wasn't parked before
}

// ConnContext is the http.Server's.
func (p *Parking) ConnContext(ctx context.Context, c net.Conn) context.Context {
	resumed, _ := c.(*resumedConn)
	return context.WithValue(ctx, parkingKey{}, &place{p, resumed})
}

// resumedConn is a connection that was parked: it first gives the request that
// waited, unless that has been answered, then what the client sends.
type resumedConn struct {
	net.Conn
	replay []byte
	until  time.Time // zero once the request was taken
	// answered is whether the client hasn't asked for anything yet since its answer.
	answered bool
}

// SetReadDeadline gives a client that was answered as long for its next request as
// any other, though the http.Server takes it for one that has just connected.
func (c *resumedConn) SetReadDeadline(t time.Time) error {
	if c.answered && !t.IsZero() {
		c.answered, t = false, t.Add(nextRequestWithin)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *resumedConn) Read(b []byte) (int, error) {
	if len(c.replay) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.replay)
	if c.replay = c.replay[n:]; len(c.replay) == 0 {
		c.replay = nil
	}
	return n, nil
}

// takeResumed returns until when the request was parked, the zero time if it
// wasn't.
func takeResumed(ctx context.Context) (until time.Time) {
	if at, ok := ctx.Value(parkingKey{}).(*place); ok && at.conn != nil {
		until, at.conn.until = at.conn.until, time.Time{}
	}
	return until
}

// ResumedUntil returns until when the request was to wait if it has been parked
// before, otherwise the zero time.
func ResumedUntil(r *http.Request) time.Time {
	if w, ok := r.Context().Value(requestKey{}).(*response); ok {
		return w.resumedUntil
	}
	return time.Time{}
}
