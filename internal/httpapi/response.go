package httpapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// response remembers what was answered.
type response struct {
	http.ResponseWriter
	server *Server
	id     string
	// body is the request's, if it was read and is small.
	body []byte
	// requester is who asks, nil as long as that isn't known or of no matter.
	requester *Requester
	// metrics are those of the route that answers.
	metrics *routeMetrics
	// resumedUntil is until when the request was to wait, if it has been parked.
	resumedUntil time.Time
	status       int // 0 until the header is sent
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets files be sent without passing through this process's memory.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return io.Copy(w.ResponseWriter, src)
}

// Unwrap serves http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

var (
	requestSerial atomic.Uint64
	requestPrefix = rand.Text()[:6]
)

// nextRequestID is unique within the process, and very likely between processes.
func nextRequestID() string {
	return requestPrefix + "-" + strconv.FormatUint(requestSerial.Add(1), 36)
}

func stack() string { return string(debug.Stack()) }

// statusClientClosed is recorded for a request whose client went away. Nobody
// receives it.
const statusClientClosed = 499

// WriteError writes the answer for an error of a handler: an *Error as it is, and
// anything else, logged, as 500 M_UNKNOWN without its text.
func (s *Server) WriteError(rw http.ResponseWriter, r *http.Request, err error) {
	w, ok := rw.(*response)
	if !ok {
		w = &response{ResponseWriter: rw, server: s, id: RequestID(r.Context())}
	}
	if w.status != 0 { // the answer had begun; all that is left is to break it off
		s.log.Warn("an answer broke off", "request", w.id, "method", r.Method, "path", r.URL.Path, "err", err)
		panic(http.ErrAbortHandler)
	}
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		w.status = statusClientClosed
		return
	}
	e := s.toError(w, r, err)
	body := map[string]any{}
	if e.Code != "" {
		body["errcode"], body["error"] = e.Code, e.Message
	}
	switch e.Code {
	case "M_RESOURCE_LIMIT_EXCEEDED":
		body["admin_contact"] = s.o.AdminContact
	case "M_USER_LIMIT_EXCEEDED":
		body["info_uri"] = s.o.AdminContact
	}
	for k, v := range e.Extra {
		body[k] = v
	}
	if e.RetryAfter > 0 {
		ms := (e.RetryAfter + time.Millisecond - 1) / time.Millisecond
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
		body["retry_after_ms"] = int64(ms)
	}
	if err := writeJSON(w, e.Status, body); err != nil {
		s.log.Debug("writing an error failed", "request", w.id, "err", err)
	}
}

// toError finds the Matrix error in err's chain, or logs err and hides it.
func (s *Server) toError(w *response, r *http.Request, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if e.Status >= 500 {
			s.log.Warn("request refused", "request", w.id, "method", r.Method, "path", r.URL.Path, "err", err)
		}
		return e
	}
	// PostgreSQL's text can't hold NUL; only a client can have sent it.
	var sql interface{ SQLState() string }
	if errors.As(err, &sql) && sql.SQLState() == "22021" {
		return InvalidParam("The request holds a character that can't be stored")
	}
	s.log.Error("request failed", "request", w.id, "method", r.Method, "path", r.URL.Path, "err", err)
	return internalError()
}

func internalError() *Error {
	return New(http.StatusInternalServerError, "M_UNKNOWN", "Internal server error")
}

func (s *Server) writeInternalError(w *response) {
	e := internalError()
	if err := writeJSON(w, e.Status, map[string]any{"errcode": e.Code, "error": e.Message}); err != nil {
		s.log.Debug("writing an error failed", "request", w.id, "err", err)
	}
}

// writeAnswer writes what a handler returned.
func writeAnswer(w *response, answer any) error {
	switch a := answer.(type) {
	case nil:
		return writeBody(w, http.StatusOK, []byte("{}"))
	case Raw:
		return writeBody(w, http.StatusOK, a)
	case *Reply:
		return writeReply(w, a)
	default:
		return writeJSON(w, http.StatusOK, answer)
	}
}

func writeReply(w *response, a *Reply) error {
	for k, v := range a.Header {
		w.Header()[k] = v
	}
	status := a.Status
	if status == 0 {
		status = http.StatusOK
	}
	switch {
	case a.JSON != nil:
		return writeJSON(w, status, a.JSON)
	case a.Write != nil:
		if a.Status != 0 {
			w.WriteHeader(a.Status)
		}
		return a.Write(w)
	default:
		w.WriteHeader(status)
		return nil
	}
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooledBuffer keeps one huge answer from holding its memory for ever.
const maxPooledBuffer = 256 << 10

func writeJSON(w *response, status int, v any) error {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= maxPooledBuffer {
			buffers.Put(buf)
		}
	}()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encoding an answer: %w", err)
	}
	return writeBody(w, status, bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

var jsonType = []string{"application/json"}

// writeBody sends JSON. A client that has gone away is no error of the handler's.
func writeBody(w *response, status int, body []byte) error {
	h := w.Header()
	h["Content-Type"] = jsonType
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
	return nil
}
