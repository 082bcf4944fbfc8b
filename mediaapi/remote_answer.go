package mediaapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"unicode/utf8"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/storage"
)

// maxPartHeaders bounds what stands before the content in another server's answer: the
// parts' headers and the metadata.
const maxPartHeaders = 128 << 10

// remoteContent is what another server says that its media is.
type remoteContent struct {
	body        io.ReadCloser
	contentType string
	filename    string
	watch       *progress
}

// Read reads the content as long as it moves.
func (c *remoteContent) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	c.watch.allow(maxStall)
	return n, err
}

// wholeAnswer is the content whose bytes are the answer.
func (f *fetcher) wholeAnswer(res *http.Response) (*remoteContent, error) {
	if res.ContentLength > f.maxSize {
		res.Body.Close()
		return nil, errTooLarge
	}
	return described(res.Body, res.Header), nil
}

func described(body io.ReadCloser, h http.Header) *remoteContent {
	return &remoteContent{body: body, contentType: safeContentType(h.Get("Content-Type")), filename: remoteFilename(h.Get("Content-Disposition"))}
}

// remoteFilename is the name in a Content-Disposition, "" for none that can be kept.
func remoteFilename(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	if err != nil {
		return ""
	}
	name := params["filename"]
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	if len(name) > maxFilename || !httpapi.IsText(name) {
		return ""
	}
	return name
}

// readParts reads an answer of two parts up to where the content begins: metadata,
// which so far is an empty object, and the content or where it is.
func (f *fetcher) readParts(ctx context.Context, m *storage.Media, res *http.Response) (*remoteContent, error) {
	content, location, err := splitParts(res.Header.Get("Content-Type"), res.Body)
	if err != nil || location != "" {
		res.Body.Close()
	}
	if err != nil {
		return nil, &client.RemoteError{Server: m.Origin, Status: http.StatusBadGateway, Message: err.Error()}
	}
	if location == "" {
		return content, nil
	}
	if res, err = f.client.Follow(ctx, m.Origin, location); err != nil {
		return nil, err
	}
	return f.wholeAnswer(res)
}

// splitParts returns the second part of a body, or the Location that it names.
func splitParts(contentType string, body io.ReadCloser) (content *remoteContent, location string, err error) {
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != "multipart/mixed" || params["boundary"] == "" {
		return nil, "", fmt.Errorf("the answer is %.100q and not multipart/mixed", contentType)
	}
	bounded := &boundedReader{r: body, left: maxPartHeaders}
	parts := multipart.NewReader(bounded, params["boundary"])
	first, err := parts.NextRawPart()
	if err != nil {
		return nil, "", fmt.Errorf("the answer has no parts: %w", err)
	}
	metadata, err := io.ReadAll(first)
	if err != nil {
		return nil, "", fmt.Errorf("the metadata can't be read: %w", err)
	}
	var object map[string]json.RawMessage
	if !utf8.Valid(metadata) || json.Unmarshal(metadata, &object) != nil {
		return nil, "", fmt.Errorf("the metadata isn't a JSON object")
	}
	second, err := parts.NextRawPart()
	if err != nil {
		return nil, "", fmt.Errorf("the answer has no second part: %w", err)
	}
	if location := second.Header.Get("Location"); location != "" {
		return nil, location, nil
	}
	bounded.left = -1 // the content is bounded by who reads it
	return described(&partBody{Reader: second, whole: body}, http.Header(second.Header)), "", nil
}

// boundedReader fails after left bytes; less than none is no bound.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left < 0 {
		return b.r.Read(p)
	}
	if b.left == 0 {
		return 0, fmt.Errorf("more than %d bytes stand before the content", maxPartHeaders)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// partBody reads a part and closes the body that it is a part of.
type partBody struct {
	io.Reader
	whole io.Closer
}

func (p *partBody) Close() error { return p.whole.Close() }
