package mediaapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"golang.org/x/sync/singleflight"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// fetchTime bounds how long fetching one file may take.
	fetchTime = 10 * time.Minute
	// maxFetches and maxFetchesOfOne bound the files that are fetched at once, from all
	// servers and from one.
	maxFetches, maxFetchesOfOne = 128, 16
	// retryFetch is when to ask again for what wasn't fetched because of these bounds.
	retryFetch = 2 * time.Second
	// refusalAge is how long a server that refused media isn't asked for it again.
	refusalAge = time.Minute
	// maxRefusals bounds the refusals that are remembered.
	maxRefusals = 10_000
)

// fetcher fetches media of other servers into the store, each once however many ask.
type fetcher struct {
	ctx     context.Context // ends with the API
	client  *client.Client  // nil without federation
	maxSize int64
	// has reports whether media is there already.
	has func(ctx context.Context, origin, id string) (bool, error)
	// keep puts what was fetched into the store.
	keep    func(ctx context.Context, m *storage.Media, src *remoteContent) error
	flights singleflight.Group
	// refusals are by URI: neither a client that asks again and again nor a thousand
	// that look at one broken picture make this server ask for it as often.
	refusals *expirable.LRU[string, *httpapi.Error]
	running  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	closed   bool
	fetching map[string]int // by server
	total    int
}

func newFetcher(ctx context.Context, o *Options) *fetcher {
	return &fetcher{
		ctx: ctx, client: o.Federation, maxSize: o.MaxRemoteSize, fetching: map[string]int{},
		refusals: expirable.NewLRU[string, *httpapi.Error](maxRefusals, nil, refusalAge),
	}
}

// mayFetch returns nil if media of that server are fetched at all.
func (f *fetcher) mayFetch(origin string) error {
	if f.client == nil {
		return httpapi.NotFound("This server doesn't fetch media from other servers")
	}
	return f.client.Allowed(origin)
}

// fetch puts the media into the store, or waits for the one who is doing it. When ctx
// ends the work goes on, for those who will ask again.
func (f *fetcher) fetch(ctx context.Context, origin, id string, wait time.Duration) error {
	key := origin + "/" + id
	if refused, known := f.refusals.Get(key); known {
		return refused
	}
	done := f.flights.DoChan(key, func() (any, error) { return nil, f.fetchOnce(origin, id, wait) })
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter takes a place among those who fetch from the server, if there is one.
func (f *fetcher) enter(origin string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.total >= maxFetches || f.fetching[origin] >= maxFetchesOfOne {
		return false
	}
	f.running.Add(1)
	f.total++
	f.fetching[origin]++
	return true
}

func (f *fetcher) leave(origin string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running.Done()
	f.total--
	if f.fetching[origin]--; f.fetching[origin] == 0 {
		delete(f.fetching, origin)
	}
}

// close waits until nothing is fetched any more; the context that the fetcher was
// given must have ended.
func (f *fetcher) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.running.Wait()
}

// fetchOnce fetches the media, if there is a place for that, and remembers a refusal.
func (f *fetcher) fetchOnce(origin, id string, wait time.Duration) (err error) {
	if !f.enter(origin) {
		return httpapi.Unavailable(retryFetch, "The server is busy fetching other media")
	}
	defer f.leave(origin)
	defer func() {
		if p := recover(); p != nil { // nobody else would: this isn't the request's goroutine
			err = fmt.Errorf("fetching media panicked: %v", p)
		}
	}()
	if has, err := f.has(f.ctx, origin, id); has || err != nil { // another may have fetched it since
		return err
	}
	ctx, cancel := context.WithTimeout(f.ctx, fetchTime)
	defer cancel()
	m := &storage.Media{Origin: origin, ID: id}
	err = f.fetchNow(ctx, m, wait)
	if err == nil || f.ctx.Err() != nil {
		return err
	}
	err = fetchError(err, f.maxSize)
	var refused *httpapi.Error
	if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Code == "M_TOO_LARGE") {
		f.refusals.Add(origin+"/"+id, refused)
	}
	return err
}

func (f *fetcher) fetchNow(ctx context.Context, m *storage.Media, wait time.Duration) error {
	ctx, watch := watchProgress(ctx, wait+maxStall)
	defer watch.stop()
	content, err := f.ask(ctx, m, wait)
	if err != nil {
		return watch.explain(err)
	}
	defer content.body.Close()
	content.watch = watch
	watch.allow(maxStall)
	return watch.explain(f.keep(ctx, m, content))
}

// ask asks the server for the media: by the endpoint for servers or, of a server that
// doesn't know it, by that which everybody could use before.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid
func (f *fetcher) ask(ctx context.Context, m *storage.Media, wait time.Duration) (*remoteContent, error) {
	query := url.Values{"timeout_ms": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	res, err := f.client.Stream(ctx, client.Request{
		Method: http.MethodGet, Server: m.Origin, URI: client.Path("/_matrix/federation/v1/media/download", m.ID) + "?" + query.Encode(),
	})
	if err == nil {
		return f.readParts(ctx, m, res)
	}
	var remote *client.RemoteError
	if !errors.As(err, &remote) || !unknowing(remote) {
		return nil, err
	}
	query.Set("allow_remote", "false")
	res, err = f.client.Stream(ctx, client.Request{
		Method: http.MethodGet, Server: m.Origin, Unsigned: true,
		URI: client.Path("/_matrix/media/v3/download", m.Origin, m.ID) + "?" + query.Encode(),
	})
	if err != nil {
		return nil, err
	}
	return f.wholeAnswer(res)
}

// unknowing reports whether a server refuses as one does that doesn't know the endpoint.
func unknowing(e *client.RemoteError) bool {
	return e.Code == "M_UNRECOGNIZED" || e.Code == "" && (e.Status == http.StatusNotFound || e.Status == http.StatusBadRequest)
}

// fetchError is what those who asked for the media are told.
func fetchError(err error, limit int64) error {
	var remote *client.RemoteError
	switch {
	case errors.Is(err, errTooLarge):
		return httpapi.New(http.StatusBadGateway, "M_TOO_LARGE", "The content is larger than the %d bytes that this server fetches", limit)
	case errors.Is(err, errSource):
		e := httpapi.New(http.StatusBadGateway, "M_UNKNOWN", "The content could not be fetched to its end")
		e.Err = err
		return e
	case errors.As(err, &remote) && remote.Code == "M_NOT_YET_UPLOADED":
		return errNotYetUploaded()
	case errors.As(err, &remote) && remote.Code == "M_TOO_LARGE":
		return httpapi.New(http.StatusBadGateway, "M_TOO_LARGE", "The server %s says: %s", remote.Server, remote.Message)
	case errors.As(err, &remote) && (remote.Status == http.StatusNotFound || remote.Status == http.StatusForbidden):
		return httpapi.NotFound("The server %s has no such media", remote.Server)
	}
	return client.AsClientError(err)
}
