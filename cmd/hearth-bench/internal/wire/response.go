package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// maxBody bounds what one answer may take of the tool's memory, in bytes.
const maxBody = 512 << 20

type header struct {
	status     int
	length     int // -1: not given
	chunked    bool
	last       bool // the server closes the connection after this answer
	retryAfter time.Duration
}

func (c *Conn) readResponse() (resp Response, last bool, err error) {
	h, err := c.readHeader()
	for err == nil && h.status/100 == 1 {
		h, err = c.readHeader()
	}
	if err != nil {
		return resp, false, err
	}
	c.body = c.body[:0]
	switch {
	case h.chunked:
		err = c.readChunks()
	case h.status == 204 || h.status == 304:
	case h.length < 0:
		return resp, false, errors.New("the answer has neither a length nor chunks")
	default:
		err = c.readBody(h.length)
	}
	return Response{Status: h.status, RetryAfter: h.retryAfter, Body: c.body}, h.last, err
}

func (c *Conn) readHeader() (header, error) {
	h := header{length: -1}
	line, err := c.readLine()
	if err != nil {
		return h, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, fmt.Errorf("not an HTTP status line: %q", line)
	}
	h.last = line[7] == '0'
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, fmt.Errorf("not an HTTP status line: %q", line)
	}
	for {
		line, err := c.readLine()
		if err != nil || len(line) == 0 {
			return h, err
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return h, fmt.Errorf("not a header line: %q", line)
		}
		if err := h.set(name, bytes.TrimSpace(value)); err != nil {
			return h, err
		}
	}
}

func (h *header) set(name, value []byte) (err error) {
	switch len(name) { // spares most headers the comparison
	case len("Connection"):
		if bytes.EqualFold(name, []byte("Connection")) {
			h.last = bytes.EqualFold(value, []byte("close"))
		}
	case len("Retry-After"):
		if bytes.EqualFold(name, []byte("Retry-After")) {
			if seconds, err := strconv.Atoi(string(value)); err == nil {
				h.retryAfter = time.Duration(seconds) * time.Second
			}
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			h.length, err = strconv.Atoi(string(value))
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			h.chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	return err
}

func (c *Conn) readChunks() error {
	for {
		line, err := c.readLine()
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil {
			return fmt.Errorf("chunk size: %w", err)
		}
		if n == 0 {
			for len(line) > 0 { // trailers
				if line, err = c.readLine(); err != nil {
					return err
				}
			}
			return nil
		}
		if err := c.readBody(int(n)); err != nil {
			return err
		}
		if _, err := c.br.Discard(2); err != nil {
			return err
		}
	}
}

func (c *Conn) readBody(n int) error {
	if n < 0 || len(c.body)+n > maxBody {
		return fmt.Errorf("an answer of over %d bytes", maxBody)
	}
	at := len(c.body)
	c.body = slices.Grow(c.body, n)[:at+n]
	_, err := io.ReadFull(c.br, c.body[at:])
	return err
}

func (c *Conn) readLine() ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
