// Package syncapi is /sync and what lives in it: typing, receipts, presence,
// account data. It follows the stream and serves what is recent from memory; only
// first syncs, old tokens and long gaps go to the database.
package syncapi

import (
	"context"
	"log/slog"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"hearth/internal/filter"
	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// Options of New. DB and Rooms are required.
type Options struct {
	DB         *storage.DB
	Rooms      *roomserver.Server
	ServerName string
	// CacheBytes bounds what recent events take in memory.
	CacheBytes int64
	// PresenceEnabled is whether people see who is online.
	PresenceEnabled bool
	// PosKey proves that a pos of sliding sync is this server's own. Without one, no pos is
	// good after a restart.
	PosKey []byte
	// OnTyping, if set, is told who of this server's users begins, goes on or ceases to
	// type. It must not wait.
	OnTyping func(ctx context.Context, roomID, userID string, typing bool)
	Logger   *slog.Logger
}

// API answers /sync and its neighbours. All methods are safe for concurrent use.
type API struct {
	o       Options
	db      *storage.DB
	rooms   *roomserver.Server
	log     *slog.Logger
	hub     *hub
	members *sentMembers
	// connections are those of sliding sync.
	connections *connections
	filters     *lru.Cache[string, *filter.Sync]
	closing     chan struct{}
	once        sync.Once
}

// maxFilters bounds the stored filters that are kept parsed.
const maxFilters = 10_000

// New starts following the stream. Close ends it.
func New(o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	a := &API{o: o, db: o.DB, rooms: o.Rooms, log: o.Logger, members: newSentMembers(), closing: make(chan struct{}),
		connections: newConnections(o.PosKey, o.CacheBytes/4)}
	o.CacheBytes -= a.connections.budget
	a.hub = newHub(o)
	var err error
	if a.filters, err = lru.New[string, *filter.Sync](maxFilters); err != nil {
		panic(err) // only for a size that isn't positive
	}
	o.DB.Stream.Follow(a.hub.follow)
	if o.PresenceEnabled {
		go a.watchPresence()
	}
	return a
}

// Close ends the long polls: each is answered with what there is.
func (a *API) Close() {
	a.once.Do(func() {
		close(a.closing)
		a.hub.close()
	})
}

// Register adds the API's routes to a server.
func (a *API) Register(s *httpapi.Server) {
	s.Register([]string{"/_matrix/client/v4"}, []httpapi.Route{{Method: "POST", Path: "/sync", Handle: a.postSync}})
	s.Register([]string{"/_matrix/client/unstable/org.matrix.simplified_msc3575"}, []httpapi.Route{
		{Method: "POST", Path: "/sync", Handle: a.postUnstableSync}})
	s.Register(httpapi.ClientPrefixes, []httpapi.Route{
		{Method: "GET", Path: "/sync", Handle: a.getSync},
		{Method: "GET", Path: "/events", Handle: a.getEvents},
		{Method: "GET", Path: "/keys/changes", Handle: a.getKeyChanges},
		{Method: "PUT", Path: "/rooms/{roomId}/typing/{userId}", Handle: a.putTyping},
		{Method: "POST", Path: "/rooms/{roomId}/receipt/{receiptType}/{eventId}", Handle: a.postReceipt},
		{Method: "POST", Path: "/rooms/{roomId}/read_markers", Handle: a.postReadMarkers},
		{Method: "GET", Path: "/presence/{userId}/status", Handle: a.getPresence},
		{Method: "PUT", Path: "/presence/{userId}/status", Rate: httpapi.RateMessage, Handle: a.putPresence},
		{Method: "GET", Path: "/user/{userId}/account_data/{type}", Handle: a.getAccountData},
		{Method: "PUT", Path: "/user/{userId}/account_data/{type}", Rate: httpapi.RateMessage, Handle: a.putAccountData},
		{Method: "GET", Path: "/user/{userId}/rooms/{roomId}/account_data/{type}", Handle: a.getAccountData},
		{Method: "PUT", Path: "/user/{userId}/rooms/{roomId}/account_data/{type}", Rate: httpapi.RateMessage, Handle: a.putAccountData},
		{Method: "GET", Path: "/user/{userId}/rooms/{roomId}/tags", Handle: a.getTags},
		{Method: "PUT", Path: "/user/{userId}/rooms/{roomId}/tags/{tag}", Rate: httpapi.RateMessage, Handle: a.putTag},
		{Method: "DELETE", Path: "/user/{userId}/rooms/{roomId}/tags/{tag}", Rate: httpapi.RateMessage, Handle: a.deleteTag},
	})
	s.Register([]string{"/_matrix/client/unstable/org.matrix.msc3391"}, []httpapi.Route{
		{Method: "DELETE", Path: "/user/{userId}/account_data/{type}", Rate: httpapi.RateMessage, Handle: a.deleteAccountData},
		{Method: "DELETE", Path: "/user/{userId}/rooms/{roomId}/account_data/{type}", Rate: httpapi.RateMessage, Handle: a.deleteAccountData},
	})
}
