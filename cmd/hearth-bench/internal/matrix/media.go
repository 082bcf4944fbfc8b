package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"hearth/cmd/hearth-bench/internal/wire"
)

// Files moves one user's files without holding them in memory. It may be shared.
type Files struct {
	account Account
	target  wire.Target
	client  *http.Client
}

// NewFiles returns files of an account, moved over at most so many idle connections.
func NewFiles(t wire.Target, a Account, connections int) *Files {
	return &Files{a, t, &http.Client{Transport: t.Transport(connections), Timeout: 10 * time.Minute}}
}

// Close closes the connections.
func (f *Files) Close() { f.client.CloseIdleConnections() }

// Upload uploads a file and returns its server and media id, with a slash between.
func (f *Files) Upload(ctx context.Context, body io.Reader, size int64, contentType string) (string, error) {
	r, err := f.request(ctx, "POST", "/_matrix/media/v3/upload", body)
	if err != nil {
		return "", err
	}
	r.ContentLength = size
	r.Header.Set("Content-Type", contentType)
	var answer struct {
		URI string `json:"content_uri"`
	}
	if err := f.do(r, func(b io.Reader) error { return json.NewDecoder(b).Decode(&answer) }); err != nil {
		return "", err
	}
	media, ok := strings.CutPrefix(answer.URI, "mxc://")
	if !ok {
		return "", fmt.Errorf("upload: the answer has no media URI but %.100q", answer.URI)
	}
	return media, nil
}

// Download hands a file to read.
func (f *Files) Download(ctx context.Context, media string, read func(io.Reader) error) error {
	return f.get(ctx, "/_matrix/client/v1/media/download/"+media, read)
}

// Thumbnail hands a thumbnail of at least this size to read.
func (f *Files) Thumbnail(ctx context.Context, media string, width, height int, read func(io.Reader) error) error {
	return f.get(ctx, fmt.Sprintf("/_matrix/client/v1/media/thumbnail/%s?width=%d&height=%d&method=scale", media, width, height), read)
}

func (f *Files) get(ctx context.Context, path string, read func(io.Reader) error) error {
	r, err := f.request(ctx, "GET", path, nil)
	if err != nil {
		return err
	}
	return f.do(r, read)
}

func (f *Files) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, f.target.URL(path), body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	r.Header.Set("Authorization", "Bearer "+f.account.Token)
	return r, nil
}

func (f *Files) do(r *http.Request, read func(io.Reader) error) error {
	res, err := f.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("%s %s: answered %d %.300s", r.Method, r.URL.Path, res.StatusCode, b)
	}
	if err := read(res.Body); err != nil {
		return fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
	}
	return nil
}
