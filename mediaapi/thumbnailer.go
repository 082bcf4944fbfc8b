package mediaapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"hearth/mediaapi/thumbnail"
)

const (
	// thumbnailMemory bounds what all thumbnails being made take, in bytes.
	thumbnailMemory = 384 << 20
	// thumbnailTime bounds the decoding of one image.
	thumbnailTime = 20 * time.Second
	// maxQueued bounds the thumbnails being made or waiting to be.
	maxQueued = 512
	// maxRemembered bounds the memory of files that have no thumbnails.
	maxRemembered = 4096
)

// errBusy says that maxQueued thumbnails are waiting to be made.
var errBusy = errors.New("too many thumbnails are being made")

// thumbnailer makes thumbnails, each once however many ask, and keeps them in
// the store. It works on contents, so that media with the same content share them.
type thumbnailer struct {
	ctx     context.Context // ends with the API
	store   *store
	flights singleflight.Group
	// budget is memory. A thumbnail takes at least a core's share of it, so that
	// it bounds the cores in use as well.
	budget *semaphore.Weighted
	queued atomic.Int64
	// hopeless remembers why a content has no thumbnails: decoding it again,
	// perhaps to its last byte, wouldn't change that.
	hopeless *lru.Cache[fileHash, error]
}

func newThumbnailer(ctx context.Context, s *store) *thumbnailer {
	hopeless, err := lru.New[fileHash, error](maxRemembered)
	if err != nil {
		panic(err) // only for a size that isn't positive
	}
	return &thumbnailer{ctx: ctx, store: s, budget: semaphore.NewWeighted(thumbnailMemory), hopeless: hopeless}
}

// wait returns when nothing is being made any more; the context that the
// thumbnailer was given must have ended. Work holds a part of the budget.
func (t *thumbnailer) wait() {
	if err := t.budget.Acquire(context.Background(), thumbnailMemory); err == nil {
		t.budget.Release(thumbnailMemory)
	}
}

// get returns the thumbnail of a content, made now if need be, or the content
// itself if that is small enough and either isn't animated or may be. Errors
// wrap those of package thumbnail, or errBusy.
func (t *thumbnailer) get(ctx context.Context, h fileHash, size thumbnail.Size, animated bool) (*served, error) {
	if err, known := t.hopeless.Get(h); known {
		return nil, err
	}
	if !animated {
		if s, err := t.store.openThumbnail(h, size.String()); err == nil || !errors.Is(err, os.ErrNotExist) {
			return s, err
		}
	}
	f, err := t.store.openImage(ctx, h)
	if err != nil {
		return nil, err
	}
	info, err := thumbnail.Inspect(f)
	if err != nil {
		f.Close()
		t.remember(h, err)
		return nil, err
	}
	if size.Holds(info) && (animated || !info.Animated) {
		return &served{file: f.File, contentType: info.ContentType(), filename: "thumbnail." + info.Format, etag: h.String()}, nil
	}
	f.Close()
	if err := t.make(ctx, h, info, size); err != nil {
		return nil, err
	}
	return t.store.openThumbnail(h, size.String())
}

// remember keeps an error that would be the same next time.
func (t *thumbnailer) remember(h fileHash, err error) {
	if errors.Is(err, thumbnail.ErrUnsupported) || errors.Is(err, thumbnail.ErrTooLarge) {
		t.hopeless.Add(h, err)
	}
}

// make puts a thumbnail into the store, or waits for the one who is doing it.
// When ctx ends the work goes on, for those who will ask again.
func (t *thumbnailer) make(ctx context.Context, h fileHash, info *thumbnail.Info, size thumbnail.Size) error {
	done := t.flights.DoChan(h.String()+"/"+size.String(), func() (any, error) {
		if t.queued.Add(1) > maxQueued {
			t.queued.Add(-1)
			return nil, errBusy
		}
		defer t.queued.Add(-1)
		err := t.makeNow(h, info, size)
		t.remember(h, err)
		return nil, err
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *thumbnailer) makeNow(h fileHash, info *thumbnail.Info, size thumbnail.Size) error {
	if s, err := t.store.openThumbnail(h, size.String()); err == nil { // made since the caller looked
		return s.file.Close()
	}
	share := int64(thumbnailMemory / runtime.GOMAXPROCS(0))
	weight := min(max(info.Cost(size), share), thumbnailMemory)
	if err := t.budget.Acquire(t.ctx, weight); err != nil {
		return fmt.Errorf("waiting to make a thumbnail: %w", err)
	}
	defer t.budget.Release(weight)
	f, err := t.store.openImage(t.ctx, h)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.ctx, thumbnailTime)
	defer cancel()
	err = t.store.saveThumbnail(h, size.String(), info.OutputType(), func(w io.Writer) error {
		return thumbnail.Make(ctx, f, info, size, w)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: it takes too long to decode", thumbnail.ErrTooLarge)
	}
	return err
}
