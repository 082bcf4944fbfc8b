package mediaapi

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"hearth/storage"
)

const (
	// evictBatch bounds the media that are forgotten at once.
	evictBatch = 1000
	// evictedAge is how long ago a file was announced before it may go to make room.
	evictedAge = 10 * time.Minute
)

// cacheSize knows how much of the store can be fetched again, and bounds it.
type cacheSize struct {
	budget int64
	held   atomic.Int64
	full   chan struct{}
}

// add counts a fetched file and wakes who makes room.
func (c *cacheSize) add(size int64) {
	if c.held.Add(size) > c.budget {
		select {
		case c.full <- struct{}{}:
		default:
		}
	}
}

// makeRoomRegularly keeps what can be fetched again within its budget until ctx ends. How much that
// is, is added up at the beginning, and when there seems to be too much of it: deletions aren't subtracted.
func (a *API) makeRoomRegularly(ctx context.Context) {
	ticker := time.NewTicker(collectEvery)
	defer ticker.Stop()
	for first := true; ; first = false {
		if first || a.cache.held.Load() > a.cache.budget {
			if err := a.makeRoom(ctx); err != nil && ctx.Err() == nil {
				a.log.Error("making room for other servers' media failed", slog.Any("error", err))
			}
		}
		select {
		case <-a.cache.full:
		case <-ticker.C: // also what was fetched too lately to go
		case <-ctx.Done():
			return
		}
	}
}

// makeRoom forgets the least recently used media that can be fetched again until a
// tenth of the budget is free, and deletes their files.
func (a *API) makeRoom(ctx context.Context) error {
	held, err := a.measure(ctx)
	if err != nil || held <= a.cache.budget {
		return err
	}
	for target := a.cache.budget - a.cache.budget/10; held > target; {
		forgotten, err := a.forget(ctx, held-target)
		if err != nil {
			return err
		}
		if forgotten == 0 {
			break
		}
		if held, err = a.measure(ctx); err != nil { // still too much, if users have some of the files as well
			return err
		}
	}
	return a.collect(ctx, evictedAge)
}

// measure adds up what can be fetched again.
func (a *API) measure(ctx context.Context) (int64, error) {
	believed := a.cache.held.Load()
	held, err := a.db.RefetchableBytes(ctx)
	if err != nil {
		return 0, err
	}
	a.cache.held.Add(held - believed) // with what was fetched meanwhile
	return held, nil
}

// forget forgets media with so many bytes, if there are, and returns how many media those are.
func (a *API) forget(ctx context.Context, bytes int64) (media int64, err error) {
	for bytes > 0 {
		gone, err := a.db.ForgetRefetchable(ctx, bytes, evictBatch)
		if err != nil || gone.Media == 0 {
			return media, err
		}
		media += gone.Media
		bytes -= gone.Bytes
	}
	return media, nil
}

// keepFetched puts fetched content into the store and under its URI.
func (a *API) keepFetched(ctx context.Context, m *storage.Media, src *remoteContent) error {
	file, err := a.store.receive(src, a.fetcher.maxSize)
	switch {
	case errors.Is(err, errTooLarge) || errors.Is(err, errSource):
		return err
	case err != nil:
		return a.failed(err)
	}
	size := file.size
	m.ContentType, m.Filename = src.contentType, src.filename
	src.watch.stop() // what follows is this server's own work
	ctx = context.WithoutCancel(ctx)
	if err := a.keep(ctx, m, file); err != nil {
		return err
	}
	if err := a.db.KeepRemoteMedia(ctx, m); err != nil {
		return err
	}
	a.cache.add(size)
	return nil
}
