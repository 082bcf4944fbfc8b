package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hearth/internal/httpapi"
)

// Request is a request to another server.
type Request struct {
	Method string
	Server string
	// URI is the path, escaped, with the query string; see Path.
	URI string
	// Body, unless nil, is sent as JSON.
	Body any
	// MaxAnswer bounds the answer in bytes; 0 means 10 MiB.
	MaxAnswer int64
	// Timeout bounds the whole request; 0 means a minute.
	Timeout time.Duration
	// Force tries a server that has failed lately.
	Force bool
	// Unsigned leaves out who asks, for endpoints that anybody may use.
	Unsigned bool
}

const (
	defaultMaxAnswer = 10 << 20
	defaultTimeout   = time.Minute
	// minPatience is how long a server must have been waited for to count as one that doesn't answer.
	minPatience = 5 * time.Second
	// maxErrorAnswer bounds an answer that refuses a request.
	maxErrorAnswer = 64 << 10
)

// Path joins a prefix and path segments, which it escapes.
func Path(prefix string, segments ...string) string {
	var b strings.Builder
	b.WriteString(prefix)
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// Do sends a request and returns the answer, a JSON object or array. The errors are
// *RemoteError for an answer that refuses, *UnreachableError for none, and
// *httpapi.Error for a server that this one doesn't talk with.
func (c *Client) Do(ctx context.Context, r Request) (json.RawMessage, error) {
	if r.MaxAnswer == 0 {
		r.MaxAnswer = defaultMaxAnswer
	}
	if r.Timeout == 0 {
		r.Timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	res, err := c.Stream(ctx, r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := readAnswer(res, r.MaxAnswer)
	if err != nil {
		return nil, &UnreachableError{Server: r.Server, Err: err}
	}
	if !utf8.Valid(body) || !json.Valid(body) || httpapi.Depth(body) > httpapi.MaxDepth {
		return nil, &RemoteError{Server: r.Server, Status: res.StatusCode, Code: "M_NOT_JSON", Message: "The answer isn't valid JSON"}
	}
	return body, nil
}

// Get asks for an object and decodes it into answer.
func (c *Client) Get(ctx context.Context, server, uri string, answer any) error {
	return c.decode(ctx, Request{Method: http.MethodGet, Server: server, URI: uri}, answer)
}

// Post sends an object and decodes what is answered into answer.
func (c *Client) Post(ctx context.Context, server, uri string, body, answer any) error {
	return c.decode(ctx, Request{Method: http.MethodPost, Server: server, URI: uri, Body: body}, answer)
}

// Put sends an object and decodes what is answered into answer.
func (c *Client) Put(ctx context.Context, server, uri string, body, answer any) error {
	return c.decode(ctx, Request{Method: http.MethodPut, Server: server, URI: uri, Body: body}, answer)
}

func (c *Client) decode(ctx context.Context, r Request, answer any) error {
	body, err := c.Do(ctx, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return &RemoteError{Server: r.Server, Status: http.StatusOK, Code: "M_BAD_JSON", Message: "The answer has the wrong shape: " + err.Error()}
	}
	return nil
}

// Stream sends a request and returns its answer, whose status is 200, with the body
// still to be read and closed: within MaxAnswer and Timeout only what the caller
// makes sure of.
func (c *Client) Stream(ctx context.Context, r Request) (*http.Response, error) {
	if err := c.mayAsk(ctx, &r); err != nil {
		return nil, err
	}
	began := time.Now()
	res, err := c.send(ctx, &r)
	if err != nil {
		var refused *httpapi.Error
		if errors.As(err, &refused) {
			return nil, refused
		}
		// Who waits only a moment mustn't make a server count as gone.
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) && time.Since(began) > minPatience {
			c.failed(r.Server, err)
		}
		countUnreachable.Inc()
		return nil, &UnreachableError{Server: r.Server, Err: err}
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		countRefused.Inc()
		e := remoteError(r.Server, res)
		// A gateway's page says that nobody is behind it.
		if e.Code == "" && e.Status >= 502 && e.Status <= 504 {
			c.failed(r.Server, e)
		} else {
			c.Alive(r.Server)
		}
		return nil, e
	}
	countAnswered.Inc()
	c.Alive(r.Server)
	return res, nil
}

// send sends the request to where its server is. What DNS said is looked up again
// after a failure.
func (c *Client) send(ctx context.Context, r *Request) (*http.Response, error) {
	target, err := c.Discover(ctx, r.Server, nil)
	if err != nil {
		return nil, err
	}
	req, err := c.build(context.WithValue(ctx, targetKey{}, target), r, target)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.targets.drop(r.Server)
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // its text names a URL that is none
		}
		return nil, err
	}
	return res, nil
}

func (c *Client) build(ctx context.Context, r *Request, target *Target) (*http.Request, error) {
	signed := SignedRequest{Destination: r.Server, Method: r.Method, Origin: c.o.ServerName, URI: r.URI}
	var body io.Reader
	if r.Body != nil {
		text, err := encode(r.Body)
		if err != nil {
			return nil, err
		}
		signed.Content, body = text, bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, "https://"+target.key()+r.URI, body)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	if req.URL.RequestURI() != r.URI {
		return nil, fmt.Errorf("making a request: %q is no URI", r.URI)
	}
	req.Host = target.Host
	req.Header.Set("User-Agent", "Hearth")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !r.Unsigned {
		authorization, err := Sign(signed, c.o.KeyID, c.o.PrivateKey)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", authorization)
	}
	return req, nil
}

func encode(body any) ([]byte, error) {
	if raw, ok := body.(json.RawMessage); ok {
		return raw, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil, fmt.Errorf("encoding a request: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// readAnswer reads a body that may be no larger than limit.
func readAnswer(res *http.Response, limit int64) ([]byte, error) {
	if res.ContentLength > limit {
		return nil, fmt.Errorf("the answer is larger than %d bytes", limit)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("the answer is larger than %d bytes", limit)
	}
	return body, nil
}

// remoteError reads an answer that refuses the request.
func remoteError(server string, res *http.Response) *RemoteError {
	e := &RemoteError{Server: server, Status: res.StatusCode}
	body, err := readAnswer(res, maxErrorAnswer)
	if err != nil {
		return e
	}
	var answer struct {
		Code       string `json:"errcode"`
		Message    string `json:"error"`
		RetryAfter int64  `json:"retry_after_ms"`
	}
	if json.Unmarshal(body, &answer) == nil {
		e.Code, e.Message, e.Body = answer.Code, answer.Message, body
		e.RetryAfter = time.Duration(min(max(answer.RetryAfter, 0), 24*3600*1000)) * time.Millisecond
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds <= 24*3600 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}
