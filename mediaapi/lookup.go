package mediaapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// defaultWait is how long a download waits for content that is on its way, if
	// the client doesn't say.
	defaultWait = 20 * time.Second
	// maxWait bounds what a client may say.
	maxWait = time.Minute
)

// lookUp returns this server's media that the request's path names, whether it has
// content or not.
func (a *API) lookUp(r *http.Request) (*storage.Media, error) {
	id := httpapi.Var(r, "mediaId")
	if !validMediaID(id) {
		return nil, httpapi.NotFound("This isn't a media id")
	}
	m, err := a.db.GetMedia(r.Context(), a.serverName, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && m.QuarantinedBy != "" {
		return nil, errNoMedia()
	}
	return m, err
}

func errNoMedia() error { return httpapi.NotFound("There is no such media") }

// await returns the media of a server that the request's path names once it has
// content, waiting as long as the request's timeout_ms allows.
func (a *API) await(r *http.Request, origin string) (*storage.Media, error) {
	wait, err := waitTime(r)
	if err != nil {
		return nil, err
	}
	if origin == a.serverName {
		return a.awaitLocal(r, wait)
	}
	local, err := httpapi.BoolParam(r, "allow_remote", true)
	if err != nil {
		return nil, err
	}
	id := httpapi.Var(r, "mediaId")
	if _, _, ok := client.SplitServerName(origin); !ok || !validMediaID(id) {
		return nil, httpapi.NotFound("This isn't a media id")
	}
	return a.awaitRemote(r.Context(), origin, id, wait, local)
}

// has reports whether there is such media.
func (a *API) has(ctx context.Context, origin, id string) (bool, error) {
	_, err := a.db.GetMedia(ctx, origin, id)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// awaitRemote returns another server's media, fetched now if need be and allowed.
func (a *API) awaitRemote(ctx context.Context, origin, id string, wait time.Duration, mayFetch bool) (*storage.Media, error) {
	m, err := a.db.GetMedia(ctx, origin, id)
	if err == nil && m.QuarantinedBy != "" {
		return nil, errNoMedia()
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return m, err
	}
	if !mayFetch {
		return nil, httpapi.NotFound("This media has not been fetched yet")
	}
	if err := a.fetcher.mayFetch(origin); err != nil {
		return nil, err
	}
	if err := a.fetcher.fetch(ctx, origin, id, wait); err != nil {
		return nil, err
	}
	m, err = a.db.GetMedia(ctx, origin, id)
	if errors.Is(err, storage.ErrNotFound) { // it had to make room at once
		return nil, httpapi.Unavailable(retryFetch, "The server has no room for this media")
	}
	if err == nil && m.QuarantinedBy != "" { // its content is
		return nil, errNoMedia()
	}
	return m, err
}

// awaitLocal returns this server's media once it has content.
func (a *API) awaitLocal(r *http.Request, wait time.Duration) (*storage.Media, error) {
	// Watching begins before the first look: content can't arrive in between.
	arrived, stop := a.arrivals.watch(httpapi.Var(r, "mediaId"))
	defer stop()
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for waiting := true; ; {
		m, err := a.lookUp(r)
		switch {
		case err != nil:
			return nil, err
		case m.SHA256 != nil:
			return m, nil
		case m.Expired:
			return nil, httpapi.NotFound("This media was never uploaded")
		case !waiting:
			return nil, errNotYetUploaded()
		}
		// One last look after the wait, whatever ended it: another process may
		// have received the upload.
		waiting = false
		select {
		case <-arrived:
		case <-timeout.C:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func errNotYetUploaded() error {
	return httpapi.New(http.StatusGatewayTimeout, "M_NOT_YET_UPLOADED", "This media has not been uploaded yet")
}

func waitTime(r *http.Request) (time.Duration, error) {
	given := r.URL.Query().Get("timeout_ms")
	if given == "" {
		return defaultWait, nil
	}
	ms, err := strconv.ParseInt(given, 10, 64)
	if err != nil || ms < 0 {
		return 0, httpapi.InvalidParam("timeout_ms isn't a number of milliseconds")
	}
	return time.Duration(min(ms, maxWait.Milliseconds())) * time.Millisecond, nil
}
