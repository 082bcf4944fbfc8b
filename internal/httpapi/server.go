package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gorilla/mux"
)

// Options of NewServer.
type Options struct {
	// Authenticate finds who an access token belongs to. It returns an *Error, such
	// as UnknownToken, for a token that isn't valid. It may be nil when no route
	// asks for a token.
	Authenticate func(ctx context.Context, token string) (*Requester, error)
	// Seen, if set, is told at most once per SeenInterval and Requester from where a
	// user's request came.
	Seen func(u *Requester, ip, userAgent string)
	// RateLimits says how often each class may be used; a class that isn't in it is
	// not limited.
	RateLimits map[RateClass]Limit
	// TrustedProxies are the addresses whose X-Forwarded-For is believed; loopback
	// always is.
	TrustedProxies []netip.Prefix
	// AdminContact is the address of whom to turn to, which is named where the server or a user has come to a limit.
	AdminContact string
	Logger       *slog.Logger
}

// Server serves the routes registered with it, with one chain around all of
// them: request id, panics, CORS, body limit, authentication, rate limit,
// metrics, answer.
type Server struct {
	o       Options
	log     *slog.Logger
	limits  map[RateClass]*Limiter
	routers map[routerKey]*mux.Router
	taken   map[string]bool
}

// routerKey picks the router for a path. gorilla/mux tries its routes one after
// another, each a regular expression; with a router per path prefix and number
// of segments only a handful are tried.
type routerKey struct {
	prefix   string
	segments int // -1 for templates whose variables may span segments
}

// prefixSegments is how many leading segments of every template are literal.
const prefixSegments = 4

// NewServer returns a server without routes.
func NewServer(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{o: o, log: o.Logger, routers: map[routerKey]*mux.Router{}, taken: map[string]bool{}}
	s.limits = make(map[RateClass]*Limiter, len(o.RateLimits))
	for class, limit := range o.RateLimits {
		s.limits[class] = NewLimiter(limit)
	}
	return s
}

// Register adds the routes below each of the prefixes, by whose first one metrics call them. Routes that are asked
// for most should come first. It panics when a method and path are already taken,
// and must not be called once the server serves.
func (s *Server) Register(prefixes []string, routes []Route) {
	for _, prefix := range prefixes {
		for _, route := range routes {
			s.register(prefix+route.Path, prefixes[0]+route.Path, route)
		}
	}
}

func (s *Server) register(template, name string, route Route) {
	id := route.Method + " " + template
	if s.taken[id] {
		panic(fmt.Sprintf("httpapi: two routes for %s", id))
	}
	s.taken[id] = true
	key := keyOf(template)
	if strings.Contains(template, ":") {
		key.segments = -1
	}
	router := s.routers[key]
	if router == nil {
		router = mux.NewRouter().UseEncodedPath().SkipClean(true)
		router.NotFoundHandler = s.unrecognized(http.StatusNotFound)
		router.MethodNotAllowedHandler = s.unrecognized(http.StatusMethodNotAllowed)
		s.routers[key] = router
	}
	router.Handle(template, s.endpoint(template, name, route)).Methods(route.Method)
}

func (s *Server) unrecognized(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.WriteError(w, r, Unrecognized(status))
	})
}

// route returns the router that knows the path's routes, nil for none.
func (s *Server) route(path string) *mux.Router {
	key := keyOf(path)
	if router := s.routers[key]; router != nil {
		return router
	}
	key.segments = -1
	return s.routers[key]
}

// keyOf splits off the first prefixSegments segments and counts all.
func keyOf(path string) routerKey {
	key := routerKey{prefix: path}
	for i := 0; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		if key.segments == prefixSegments {
			key.prefix = path[:i]
		}
		key.segments++
	}
	return key
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &response{ResponseWriter: rw, server: s, id: nextRequestID(), resumedUntil: takeResumed(r.Context())}
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, w))
	defer s.recovered(w, r)
	setCORS(w.Header())
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	router := s.route(r.URL.EscapedPath())
	if router == nil {
		s.WriteError(w, r, Unrecognized(http.StatusNotFound))
		return
	}
	router.ServeHTTP(w, r)
}

// recovered answers a request whose handler panicked and logs where it did.
func (s *Server) recovered(w *response, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	panics.Inc()
	s.log.Error("a handler panicked", "request", w.id, "method", r.Method, "path", r.URL.Path, "panic", v, "stack", stack())
	if w.status == 0 {
		s.writeInternalError(w)
	}
}

// setCORS sets the headers that let web pages of any origin use the API.
//
// https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients
func setCORS(h http.Header) {
	h["Access-Control-Allow-Origin"] = corsOrigin
	h["Access-Control-Allow-Methods"] = corsMethods
	h["Access-Control-Allow-Headers"] = corsHeaders
}

var (
	corsOrigin  = []string{"*"}
	corsMethods = []string{"GET, POST, PUT, DELETE, OPTIONS"}
	corsHeaders = []string{"X-Requested-With, Content-Type, Authorization"}
)
