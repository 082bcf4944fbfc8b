// Package mediaapi is the content repository: uploads, downloads and thumbnails.
// It keeps files in a content-addressed store below the data directory, and what
// mxc:// URIs mean in storage, and fetches other servers' media. It knows nothing of
// rooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#content-repository
package mediaapi

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/storage"
)

// Options of New.
type Options struct {
	DB *storage.DB
	// DataDir is the server's data directory, which no other process uses; media
	// are kept in its folder media.
	DataDir string
	// MaxUploadSize bounds an upload, in bytes.
	MaxUploadSize int64
	ServerName    string
	// Federation asks other servers for their media; nil without federation.
	Federation *client.Client
	// MaxRemoteSize bounds what is fetched of one media, in bytes, and RemoteCache what
	// is kept of all.
	MaxRemoteSize, RemoteCache int64
	// Bucket is where files are kept, nil for the data directory.
	Bucket *Bucket
	// UserQuota bounds what the uploads of one user take, DailyQuota what they may upload in a
	// day, both in bytes; 0 doesn't.
	UserQuota, DailyQuota int64
	// Retention says how long is kept what nobody asks for.
	Retention Policy
	// Unauthenticated has the paths from before authenticated media serve everybody.
	Unauthenticated bool
	// Previews says which pages are looked at to show links; nil turns that off.
	Previews *PreviewOptions
	Logger   *slog.Logger
}

// API serves the content repository. Close it before the database.
type API struct {
	db         *storage.DB
	log        *slog.Logger
	serverName string
	o          Options
	store      *store
	thumbnails *thumbnailer
	arrivals   *arrivals
	fetcher    *fetcher
	accesses   accesses
	cache      cacheSize
	health     health
	previews   *previewer // nil if they are off
	stop       context.CancelFunc
	running    sync.WaitGroup
}

// New opens the store, deletes what interrupted uploads have left in it, and
// starts collecting what nothing refers to.
func New(opts Options) (*API, error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	files, err := openStore(filepath.Join(opts.DataDir, "media"), opts.Bucket)
	if err != nil {
		return nil, err
	}
	if err := opts.DB.ForgetUploads(context.Background()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &API{
		db:         opts.DB,
		log:        opts.Logger,
		serverName: opts.ServerName,
		o:          opts,
		store:      files,
		thumbnails: newThumbnailer(ctx, files),
		arrivals:   newArrivals(),
		fetcher:    newFetcher(ctx, &opts),
		health:     health{log: opts.Logger},
		cache:      cacheSize{budget: opts.RemoteCache, full: make(chan struct{}, 1)},
		stop:       cancel,
	}
	a.fetcher.keep, a.fetcher.has = a.keepFetched, a.has
	if opts.Previews != nil {
		a.previews = newPreviewer(ctx, a, opts.Previews)
	}
	a.running.Go(func() { a.collectRegularly(ctx) })
	a.running.Go(func() { a.makeRoomRegularly(ctx) })
	a.running.Go(func() { a.recordAccesses(ctx) })
	a.running.Go(func() { a.followMentionsRegularly(ctx) })
	a.running.Go(func() { a.thumbnails.makeEarly(ctx, a.log) })
	return a, nil
}

// Close stops what runs in the background and waits for it.
func (a *API) Close() {
	a.stop()
	a.fetcher.close()
	if a.previews != nil {
		a.previews.wait()
	}
	a.running.Wait()
	a.thumbnails.wait()
}

// legacy are the prefixes of the endpoints that came before authenticated media.
var legacy = []string{"/_matrix/media/v3", "/_matrix/media/r0", "/_matrix/media/v1"}

// Register adds the content repository's routes.
func (a *API) Register(s *httpapi.Server) {
	download, thumbnail := getFrozen, getFrozen
	if a.o.Unauthenticated {
		download, thumbnail = a.toAnybody(a.getDownload), a.toAnybody(a.getThumbnail)
	}
	s.Register([]string{"/_matrix/client/v1/media"}, guard([]httpapi.Route{
		{Method: http.MethodGet, Path: "/config", Handle: a.getConfig},
		{Method: http.MethodGet, Path: "/download/{serverName}/{mediaId}", Handle: a.getDownload},
		{Method: http.MethodGet, Path: "/download/{serverName}/{mediaId}/{fileName}", Handle: a.getDownload},
		{Method: http.MethodGet, Path: "/thumbnail/{serverName}/{mediaId}", Handle: a.getThumbnail},
	}))
	s.Register(legacy, guard([]httpapi.Route{
		{Method: http.MethodPost, Path: "/upload", Rate: httpapi.RateExpensive, MaxBody: -1, Handle: a.postUpload},
		{Method: http.MethodGet, Path: "/config", Handle: a.getConfig},
		{Method: http.MethodGet, Path: "/download/{serverName}/{mediaId}", Auth: httpapi.AuthNone, Handle: download},
		{Method: http.MethodGet, Path: "/download/{serverName}/{mediaId}/{fileName}", Auth: httpapi.AuthNone, Handle: download},
		{Method: http.MethodGet, Path: "/thumbnail/{serverName}/{mediaId}", Auth: httpapi.AuthNone, Handle: thumbnail},
	}))
	if a.previews != nil {
		s.Register(append([]string{"/_matrix/client/v1/media"}, legacy...), guard([]httpapi.Route{
			{Method: http.MethodGet, Path: "/preview_url", Rate: httpapi.RateExpensive, Handle: a.previews.getPreview},
		}))
	}
	s.Register([]string{"/_synapse/admin/v1"}, a.adminRoutes())
	s.Register([]string{"/_matrix/media/v1"}, guard([]httpapi.Route{
		{Method: http.MethodPost, Path: "/create", Rate: httpapi.RateExpensive, Handle: a.postCreate},
	}))
	s.Register([]string{"/_matrix/media/v3"}, guard([]httpapi.Route{
		{Method: http.MethodPut, Path: "/upload/{serverName}/{mediaId}", Rate: httpapi.RateExpensive, MaxBody: -1, Handle: a.putUpload},
	}))
}

// getConfig answers GET /_matrix/client/v1/media/config and its predecessors.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig
func (a *API) getConfig(*http.Request, *httpapi.Requester) (any, error) {
	return map[string]int64{"m.upload.size": a.o.MaxUploadSize}, nil
}

// getFrozen answers the unauthenticated GET /_matrix/media/v3/download/… and
// /thumbnail/…. They serve only what was uploaded before a server froze them;
// this server never has, unless it is told to.
//
// https://spec.matrix.org/v1.19/client-server-api/#content-repo-client-behaviour
func getFrozen(*http.Request, *httpapi.Requester) (any, error) {
	return nil, httpapi.NotFound("Media is served to authenticated clients only: use /_matrix/client/v1/media")
}

// toAnybody serves media without asking who wants them. Those of other servers may have to be fetched first, which is
// charged to the address.
func (a *API) toAnybody(serve func(*http.Request, *httpapi.Requester) (any, error)) func(*http.Request, *httpapi.Requester) (any, error) {
	return func(r *http.Request, _ *httpapi.Requester) (any, error) {
		if httpapi.Var(r, "serverName") != a.serverName {
			if err := httpapi.Charge(r, nil, httpapi.RateExpensive); err != nil {
				return nil, err
			}
		}
		return serve(r, nil)
	}
}

// newMediaID returns a random media id, which nobody can guess.
func newMediaID() string { return rand.Text() }

// validMediaID reports whether id consists of the characters that a media id may
// have, and is of a sane length.
//
// https://spec.matrix.org/v1.19/client-server-api/#content-repo-security-considerations
func validMediaID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= 255
}
