package mediaapi

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"hearth/internal/httpapi"
)

// contentPolicy keeps a browser from running anything in what a stranger
// uploaded; the text is the specification's.
//
// https://spec.matrix.org/v1.19/client-server-api/#content-repository
const contentPolicy = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; " +
	"style-src 'unsafe-inline'; object-src 'self';"

// guarded are on every answer of the content repository, whatever it is.
var guarded = http.Header{
	"Content-Security-Policy":      {contentPolicy},
	"X-Content-Type-Options":       {"nosniff"},
	"Cross-Origin-Resource-Policy": {"cross-origin"},
}

// guard adds the headers to routes.
func guard(routes []httpapi.Route) []httpapi.Route {
	for i := range routes {
		routes[i].Header = guarded
	}
	return routes
}

// maxRanges bounds the ranges of one answer: each may be a request of its own, where files are in a
// bucket. Who asks for more, or by another unit than bytes, gets the whole, as the standard has it.
const maxRanges = 16

// served is an open file and what is said about it.
type served struct {
	file        io.ReadSeekCloser
	contentType string
	// inline says that a browser may show it; everything else is offered for saving.
	inline   bool
	filename string
	// etag names the bytes, within the URL they are served at.
	etag string
}

// reply streams the file, or the ranges of it that the request asks for, and
// closes it.
func (s *served) reply(r *http.Request) *httpapi.Reply {
	h := http.Header{}
	h.Set("Content-Type", s.contentType)
	h.Set("Content-Disposition", s.disposition())
	h.Set("ETag", `"`+s.etag+`"`)
	// The bytes never change; but they may be withdrawn, which no client should
	// overlook for longer than a day. Shared caches don't know who may see them.
	h.Set("Cache-Control", "private, max-age=86400, immutable")
	return &httpapi.Reply{Header: h, Write: func(w http.ResponseWriter) error {
		defer s.file.Close()
		if asked := r.Header.Get("Range"); !strings.HasPrefix(asked, "bytes=") || strings.Count(asked, ",") >= maxRanges {
			r.Header.Del("Range")
		}
		c := &contentWriter{movingAnswer: newMovingAnswer(w)}
		http.ServeContent(c, r, "", time.Time{}, s.file)
		if c.failed != 0 {
			return c.refused()
		}
		return c.finish()
	}}
}

// contentWriter keeps http.ServeContent from answering errors in plain text.
type contentWriter struct {
	*movingAnswer
	failed int // the status of the error, 0 if there is none
}

func (w *contentWriter) WriteHeader(status int) {
	if status < 400 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.failed = status
}

func (w *contentWriter) Write(b []byte) (int, error) {
	if w.failed != 0 {
		return len(b), nil
	}
	return w.movingAnswer.Write(b)
}

// refused is the error that a request's conditions or ranges end in.
func (w *contentWriter) refused() error {
	switch w.failed {
	case http.StatusRequestedRangeNotSatisfiable:
		return httpapi.New(w.failed, "M_UNKNOWN", "The content has no such range")
	case http.StatusPreconditionFailed:
		return httpapi.New(w.failed, "M_UNKNOWN", "The content isn't what the request's conditions ask for")
	}
	return fmt.Errorf("serving a file failed with status %d", w.failed)
}

// disposition builds a Content-Disposition (RFC 6266): the name is quoted or, if
// it isn't ASCII, encoded after RFC 5987.
func (s *served) disposition() string {
	kind := "attachment"
	if s.inline {
		kind = "inline"
	}
	if s.filename == "" {
		return kind
	}
	return mime.FormatMediaType(kind, map[string]string{"filename": s.filename})
}
