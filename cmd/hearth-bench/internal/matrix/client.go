// Package matrix speaks as much of the Matrix client-server API as the load
// tool needs. It uses nothing but the specification's own endpoints (and
// Synapse's shared-secret registration), so it drives every homeserver alike.
package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"hearth/cmd/hearth-bench/internal/wire"
)

// Account is a registered user with a session.
type Account struct {
	UserID string `json:"user_id"`
	Token  string `json:"access_token"`
	Filter string `json:"filter,omitempty"` // ID of the stored filter for live readers
}

// Client is one user on one connection. Not safe for concurrent use.
type Client struct {
	Account
	conn *wire.Conn
	path []byte // buffers, kept between requests
	body []byte
}

// NewClient returns a client whose requests end with ctx.
func NewClient(ctx context.Context, t wire.Target, a Account) *Client {
	return &Client{Account: a, conn: wire.NewConn(ctx, t)}
}

// Close closes the connection.
func (c *Client) Close() { c.conn.Close() }

// Error is an answer that is not a success.
type Error struct {
	Status     int
	Code       string // M_…
	Message    string
	RetryAfter time.Duration // 0: the answer didn't say
}

func (e *Error) Error() string {
	return fmt.Sprintf("answered %d %s: %s", e.Status, e.Code, e.Message)
}

// Refused tells whether the server turned a request down because of its load,
// which is its right.
func (e *Error) Refused() bool { return e.Status == 429 || e.Status == 503 }

func newError(r wire.Response) *Error {
	e := &Error{Status: r.Status, RetryAfter: r.RetryAfter}
	s := wire.NewScanner(r.Body)
	s.Object(func(key []byte) {
		switch string(key) {
		case "errcode":
			e.Code = string(s.String())
		case "error":
			e.Message = string(s.String())
		case "retry_after_ms":
			if ms := s.Int(); e.RetryAfter == 0 {
				e.RetryAfter = time.Duration(ms) * time.Millisecond
			}
		default:
			s.Skip()
		}
	})
	return e
}

// do returns the body of a successful answer, and an *Error for any other.
func (c *Client) do(r wire.Request) ([]byte, error) {
	r.Token = c.Token
	resp, err := c.conn.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.Status/100 != 2 {
		return nil, fmt.Errorf("%s %.120s: %w", r.Method, r.Path, newError(resp))
	}
	return resp.Body, nil
}

// refusals bounds how often call repeats a request that the server refuses.
const refusals = 20

// call makes a request that prepares or inspects, rather than being measured:
// a server that asks for patience is given it. A nil body sends none.
func (c *Client) call(method, path string, body, answer any) error {
	r := wire.Request{Method: method, Path: path, Timeout: 5 * time.Minute}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		r.Body = b
	}
	for n := 0; ; n++ {
		b, err := c.do(r)
		if wait, refused := RetryAfter(err); refused && n < refusals {
			time.Sleep(min(max(wait, 50*time.Millisecond), 5*time.Second))
			continue
		}
		if err != nil || answer == nil {
			return err
		}
		if err := json.Unmarshal(b, answer); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		return nil
	}
}

const api = "/_matrix/client/v3"

func escape(id string) string { return url.PathEscape(id) }

// RetryAfter tells whether an error is the server's refusal under load, and how
// long it asks to wait, 0 if it doesn't say.
func RetryAfter(err error) (wait time.Duration, refused bool) {
	var e *Error
	if errors.As(err, &e) && e.Refused() {
		return e.RetryAfter, true
	}
	return 0, false
}

// Unauthorized tells whether the server doesn't know the access token.
func Unauthorized(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 401
}

// Versions asks which versions of the specification the server supports.
func (c *Client) Versions() error { return c.call("GET", "/_matrix/client/versions", nil, nil) }

// Whoami asks whose the access token is.
func (c *Client) Whoami() error { return c.call("GET", api+"/account/whoami", nil, nil) }
