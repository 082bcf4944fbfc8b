package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// DefaultTimeout bounds a request whose Timeout is zero.
const DefaultTimeout = 60 * time.Second

// Request is one HTTP request.
type Request struct {
	Method  string
	Path    string // escaped, with the query
	Token   string // access token, may be empty
	Body    []byte // JSON; nil sends no body
	Timeout time.Duration
}

// Response is the answer to a Request. Body is valid until the connection's
// next request.
type Response struct {
	Status     int
	RetryAfter time.Duration // from the Retry-After header, 0 without it
	Body       []byte
}

// Conn is one persistent connection, dialled when first used and again after
// the server closed it. Not safe for concurrent use.
type Conn struct {
	ctx     context.Context // ends whatever request is on its way
	target  Target
	nc      net.Conn
	br      *bufio.Reader
	out     []byte
	body    []byte
	release func() bool
}

// NewConn returns a connection that lives at most as long as ctx.
func NewConn(ctx context.Context, t Target) *Conn { return &Conn{ctx: ctx, target: t} }

// Close closes the connection; a later Do dials again.
func (c *Conn) Close() {
	if c.nc != nil {
		c.release()
		_ = c.nc.Close()
		c.nc = nil
	}
}

// Do sends the request and reads the whole answer. A request that found its
// kept-alive connection closed by the server is sent once more on a new one,
// except for POST, which may not be repeated.
func (c *Conn) Do(r Request) (Response, error) {
	for {
		if err := c.ctx.Err(); err != nil {
			return Response{}, context.Cause(c.ctx)
		}
		reused := c.nc != nil
		if !reused {
			if err := c.open(); err != nil {
				return Response{}, err
			}
		}
		resp, begun, err := c.exchange(&r)
		if err == nil {
			return resp, nil
		}
		c.Close()
		if c.ctx.Err() != nil {
			return Response{}, context.Cause(c.ctx)
		}
		if !reused || begun || r.Method == "POST" || !closedByPeer(err) {
			return Response{}, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
		}
	}
}

func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (c *Conn) open() error {
	nc, err := c.target.dial(c.ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.nc = nc
	c.release = context.AfterFunc(c.ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	if c.br == nil {
		c.br = bufio.NewReaderSize(nc, 4096)
	} else {
		c.br.Reset(nc)
	}
	return nil
}

// exchange reports in begun whether any byte of an answer had arrived.
func (c *Conn) exchange(r *Request) (resp Response, begun bool, err error) {
	timeout := r.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	if err := c.nc.SetDeadline(time.Now().Add(timeout)); err != nil {
		return resp, false, err
	}
	if c.ctx.Err() != nil { // the deadline just set may have hidden the one that ends us
		return resp, false, os.ErrDeadlineExceeded
	}
	c.out = appendRequest(c.out[:0], c.target, r)
	if _, err := c.nc.Write(c.out); err != nil {
		return resp, false, err
	}
	if _, err := c.br.Peek(1); err != nil {
		return resp, false, err
	}
	resp, last, err := c.readResponse()
	if err == nil && last {
		c.Close()
	}
	return resp, true, err
}

func appendRequest(b []byte, t Target, r *Request) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, t.path...)
	b = append(b, r.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, t.host...)
	if r.Token != "" {
		b = append(b, "\r\nAuthorization: Bearer "...)
		b = append(b, r.Token...)
	}
	if r.Body != nil {
		b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	}
	b = append(b, "\r\n\r\n"...)
	return append(b, r.Body...)
}
