// Package httpapi is what Hearth's HTTP APIs share: routes as rows of a table,
// authentication, limits, decoding, and the one place that writes errors. It
// knows nothing of rooms or events.
package httpapi

import "net/http"

// Auth says what a route asks of the access token.
type Auth int

const (
	// AuthRequired refuses a request without a valid access token, and locked
	// accounts.
	AuthRequired Auth = iota
	// AuthEvenLocked is AuthRequired for what a locked account may still do: log out.
	AuthEvenLocked
	// AuthOptional passes a nil Requester when there is no token, and refuses a wrong one.
	AuthOptional
	// AuthNone never looks at the token.
	AuthNone
)

// RateClass names the budget a route draws on; see config's rate_limits.
type RateClass int

const (
	// RateNone is for cheap reads and long polls: not limited.
	RateNone RateClass = iota
	// RateMessage is for what appends to rooms, per user.
	RateMessage
	// RateLogin is for password checks, per address and per account.
	RateLogin
	// RateRegister is for making accounts, per address.
	RateRegister
	// RateJoin is for joining and creating rooms, per user.
	RateJoin
	// RateInvite is for invitations, per user.
	RateInvite
	// RateExpensive is for searches, uploads and other heavy work, per user.
	RateExpensive
)

// Route is one operation: what it matches, what it demands, and its handler.
// Path is a gorilla/mux template below the prefix it is registered under.
type Route struct {
	Method string
	Path   string
	Auth   Auth
	Rate   RateClass
	// MaxBody bounds the request body in bytes; 0 means DefaultMaxBody, -1 means
	// that the handler bounds and reads it itself (uploads).
	MaxBody int64
	// Header is set on every answer, errors among them, before Handle is called.
	Header http.Header
	// Handle answers the request. The value is written as JSON with status 200;
	// nil is written as {}. See Raw and Reply for other answers.
	Handle func(r *http.Request, u *Requester) (any, error)
	// states is which accounts the route is for.
	states accountStates
}

// ForAdmins returns the routes, closed to all but server admins.
func ForAdmins(routes []Route) []Route {
	for i := range routes {
		handle := routes[i].Handle
		routes[i].Handle = func(r *http.Request, u *Requester) (any, error) {
			if !u.Admin {
				return nil, Forbidden("You are not a server admin")
			}
			return handle(r, u)
		}
	}
	return routes
}

// ClientPrefixes are those under which the operations of the client-server API are served that have always been there:
// older clients know them by names from before today's.
var ClientPrefixes = []string{"/_matrix/client/v3", "/_matrix/client/r0", "/_matrix/client/unstable", "/_matrix/client/api/v1"}

// DefaultMaxBody bounds the JSON bodies of ordinary requests, in bytes. An event
// is at most 64 KiB, but key uploads and filters carry more.
const DefaultMaxBody = 1 << 20

// Raw is an answer that is JSON already.
type Raw []byte

// Reply is an answer with a status, headers or a body that isn't JSON.
type Reply struct {
	Status int
	Header http.Header
	// JSON, if not nil, is encoded as the body; otherwise Write, if set, streams it,
	// and chooses the status as well if Status is 0.
	JSON  any
	Write func(w http.ResponseWriter) error
}
