package httpapi

import (
	"net/http"
	"time"
)

// SetReadDeadline bounds the time until which reading the request's body may
// block; the zero time lifts the bound, which a handler must do when it has read
// the body. Handlers of routes whose MaxBody is -1 move it as the body arrives:
// no total would suit both a slow line and a client that has stopped sending.
func SetReadDeadline(r *http.Request, at time.Time) error {
	w, ok := r.Context().Value(requestKey{}).(*response)
	if !ok {
		return http.ErrNotSupported
	}
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(at)
}
