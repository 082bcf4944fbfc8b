package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"
)

// endpoint wraps a route's handler in what its row demands. Metrics know it by its name.
func (s *Server) endpoint(template, name string, route Route) http.Handler {
	m := newRouteMetrics(route.Method, name)
	limiter := s.limits[route.Rate]
	route.states = statesOf(route.Method, template)
	if route.MaxBody == 0 {
		route.MaxBody = DefaultMaxBody
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := rw.(*response)
		w.metrics = m
		start := time.Now()
		inFlight.Inc()
		parked := false
		defer func() {
			inFlight.Dec()
			if !parked { // it is counted when it is answered
				m.observe(w.status, time.Since(start))
			}
		}()
		for name, values := range route.Header {
			w.Header()[name] = values
		}
		answer, err := s.serve(w, r, &route, limiter)
		if parked = errors.Is(err, errParked); parked {
			return
		}
		if err == nil {
			err = writeAnswer(w, answer)
		}
		if err != nil {
			s.WriteError(w, r, err)
		}
	})
}

// serve checks what the route demands and calls its handler.
func (s *Server) serve(w *response, r *http.Request, route *Route, limiter *Limiter) (any, error) {
	if err := unescapeVars(r); err != nil {
		return nil, err
	}
	if route.MaxBody > 0 {
		if r.ContentLength > route.MaxBody {
			return nil, tooLarge(route.MaxBody)
		}
		r.Body = http.MaxBytesReader(w, r.Body, route.MaxBody)
	}
	u, err := s.requester(r, route)
	if err != nil {
		return nil, err
	}
	w.requester = u
	if w.resumedUntil.IsZero() { // who was parked has been charged
		if err := s.charge(r, u, limiter); err != nil {
			return nil, err
		}
	}
	return route.Handle(r, u)
}

// requester authenticates the request as far as the route asks for it.
func (s *Server) requester(r *http.Request, route *Route) (*Requester, error) {
	auth := route.Auth
	if auth == AuthNone {
		return nil, nil
	}
	token := AccessToken(r)
	if token == "" {
		if auth == AuthOptional {
			return nil, nil
		}
		return nil, MissingToken()
	}
	u, err := s.o.Authenticate(r.Context(), token)
	if err != nil {
		return nil, err
	}
	if err := route.states.check(u, auth); err != nil {
		return nil, err
	}
	if s.o.Seen != nil && u.seenAnew(time.Now()) {
		s.o.Seen(u, s.ClientIP(r), r.UserAgent())
	}
	return u, nil
}

// AccessToken returns the access token of the request, "" for none. It is taken
// from the Authorization header or, as deprecated clients send it, from the
// query string.
//
// https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
func AccessToken(r *http.Request) string {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(token)
		}
		return ""
	}
	if strings.Contains(r.URL.RawQuery, "access_token=") {
		return r.URL.Query().Get("access_token")
	}
	return ""
}

// unescapeVars unescapes the path's variables once, in place, and refuses text
// that nothing behind could store: broken UTF-8 and NUL.
func unescapeVars(r *http.Request) error {
	vars := mux.Vars(r)
	for name, escaped := range vars {
		value, err := url.PathUnescape(escaped)
		if err != nil || !IsText(value) {
			return InvalidParam("The %s in the path is not valid text", name)
		}
		vars[name] = value
	}
	if !strings.Contains(r.URL.RawQuery, "%") {
		return nil
	}
	query, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil || !IsText(query) {
		return InvalidParam("The query string is not valid text")
	}
	return nil
}

// IsText reports whether s can be stored as text: valid UTF-8 without NUL.
func IsText(s string) bool {
	return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// Var returns a variable of the path template, unescaped.
func Var(r *http.Request, name string) string { return mux.Vars(r)[name] }

// requestKey is where a request's context holds its *response.
type requestKey struct{}

// RequestID returns the id under which the request is logged, "" outside of one.
func RequestID(ctx context.Context) string {
	if w, ok := ctx.Value(requestKey{}).(*response); ok {
		return w.id
	}
	return ""
}
