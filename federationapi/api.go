// Package federationapi answers the server-server API. Its handlers make sure who
// asks, and that they may know, and leave rooms to the room server.
package federationapi

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"hearth/federationapi/client"
	"hearth/identity"
	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// Options of New. DB, Rooms and Client are required.
type Options struct {
	DB     *storage.DB
	Rooms  *roomserver.Server
	Client *client.Client
	// RateLimit bounds the requests of each server; the zero value doesn't.
	RateLimit httpapi.Limit
	// PublicAddress is what /.well-known/matrix/server announces; "" for nothing.
	PublicAddress string
	// Identity asks identity servers; nil trusts none.
	Identity *identity.Client
	// Media answers for media; nil doesn't.
	Media *Media
	// PresenceEnabled is whether servers tell each other who is online.
	PresenceEnabled bool
	// ShowTyping, if set, shows until when a user of another server types in a room; the
	// zero time ends it.
	ShowTyping func(roomNID int64, roomID, userID string, until time.Time)
	// Version is the program's.
	Version string
	Logger  *slog.Logger
}

// API answers the server-server API. All methods are safe for concurrent use.
type API struct {
	o          Options
	db         *storage.DB
	rooms      *roomserver.Server
	client     *client.Client
	log        *slog.Logger
	serverName string
	limiter    *httpapi.Limiter // nil doesn't limit
	sender     *sender
	lists      *deviceLists
	profiles   *otter.Cache[string, remoteProfile]
	asking     singleflight.Group // for profiles
	// joining are the rooms that are being joined: what others send of them before the room
	// is there has to wait for it.
	joining underway[string]
	// inviting are the invitations that are on their way to other servers: whom one is for
	// may know of it, and come, before this server has heard that theirs agrees.
	inviting underway[membershipOf]
	joins    chan struct{} // holds one for each room that is being handed over
	spaces   *spaces
	members  *memberFetcher
	// backfilling are the gaps that are being filled; backfills holds one for each.
	backfilling singleflight.Group
	backfills   chan struct{}
	gaps        *lru.Cache[string, *rate.Limiter] // see mayLeaveGap
	// receiving are servers' transactions, and whole the answers with whole rooms that they get.
	receiving, whole turns
}

// New returns the API.
func New(o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	a := &API{o: o, db: o.DB, rooms: o.Rooms, client: o.Client, log: o.Logger, serverName: o.Rooms.ServerName()}
	a.sender, a.spaces, a.lists, a.profiles = newSender(a), newSpaces(), newDeviceLists(), newProfileCache()
	a.members = newMemberFetcher(a)
	a.joins = make(chan struct{}, maxJoins)
	a.backfills = make(chan struct{}, maxBackfills)
	a.receiving.most, a.whole.most, a.whole.waiting = maxReceiving, maxWhole, maxWaiting
	var err error
	if a.gaps, err = lru.New[string, *rate.Limiter](maxGapRooms); err != nil {
		panic(err) // only for a size that isn't positive
	}
	if o.RateLimit.Burst > 0 {
		a.limiter = httpapi.NewLimiter(o.RateLimit)
	}
	return a
}

// Register adds the API's routes to a server.
func (a *API) Register(s *httpapi.Server) {
	s.Register([]string{"/_matrix/federation/v1"}, slices.Concat(a.eventRoutes(), a.historyRoutes(), a.stateRoutes(),
		a.deviceRoutes(), a.queryRoutes(), a.directoryRoutes(), a.versionRoutes(), a.transactionRoutes(), a.hierarchyRoutes(), a.membershipRoutes(1), a.inviteRoutes(1)))
	s.Register([]string{"/_matrix/federation/v1"}, slices.Concat(a.mediaRoutes(), a.thirdPartyRoutes()))
	s.Register([]string{"/_matrix/federation/v2"}, slices.Concat(a.membershipRoutes(2), a.inviteRoutes(2)))
	s.Register([]string{"/_matrix/key/v2"}, a.keyRoutes())
	s.Register([]string{"/_matrix/policy/v1"}, a.policyRoutes())
	s.Register([]string{"/_synapse/admin/v1/federation"}, a.adminRoutes())
	s.Register([]string{""}, a.wellKnownRoutes())
}

// signed is a route that only other servers may use, each proving who it is. Its
// handler is given the server's name and the body, which is nil or a JSON object.
func (a *API) signed(method, path string, handle func(r *http.Request, origin string, body json.RawMessage) (any, error)) httpapi.Route {
	return httpapi.Route{Method: method, Path: path, Auth: httpapi.AuthNone,
		Handle: func(r *http.Request, _ *httpapi.Requester) (any, error) {
			origin, body, err := a.authenticate(r)
			if err != nil {
				return nil, err
			}
			return handle(r, origin, body)
		}}
}
