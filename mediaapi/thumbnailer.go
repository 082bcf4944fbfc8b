package mediaapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
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
	// making is held for reading by who makes a thumbnail.
	making sync.RWMutex
	// hopeless remembers why a content has no thumbnails: decoding it again,
	// perhaps to its last byte, wouldn't change that.
	hopeless *lru.Cache[fileHash, error]
	// stills remembers what no animation is made of.
	stills *lru.Cache[fileHash, struct{}]
	early  *early
}

// variant is what is made of an image.
type variant struct {
	size     thumbnail.Size
	animated bool
}

// String names the variant's file.
func (v variant) String() string {
	if v.animated {
		return v.size.String() + "-animated"
	}
	return v.size.String()
}

func newThumbnailer(ctx context.Context, s *store) *thumbnailer {
	t := &thumbnailer{ctx: ctx, store: s, budget: semaphore.NewWeighted(thumbnailMemory), early: newEarly()}
	var err error
	if t.hopeless, err = lru.New[fileHash, error](maxRemembered); err != nil {
		panic(err) // only for a size that isn't positive
	}
	if t.stills, err = lru.New[fileHash, struct{}](maxRemembered); err != nil {
		panic(err)
	}
	return t
}

// wait returns when nothing is being made any more; the context that the
// thumbnailer was given must have ended.
func (t *thumbnailer) wait() {
	t.making.Lock()
	defer t.making.Unlock()
}

// get returns the thumbnail of a content, made now if need be, or the content
// itself if that is small enough, tells nothing but what is seen, and either isn't animated or may be. Errors
// wrap those of package thumbnail, or errBusy.
func (t *thumbnailer) get(ctx context.Context, h fileHash, size thumbnail.Size, animated bool) (*served, error) {
	if err, known := t.hopeless.Get(h); known {
		return nil, err
	}
	want := variant{size, animated && !t.stills.Contains(h)}
	if s, err := t.store.openThumbnail(h, want); err == nil || !errors.Is(err, os.ErrNotExist) {
		return s, err
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
	if size.Holds(info) && !info.Personal && (animated || !info.Animated) {
		return &served{
			file: f.File, contentType: info.ContentType(), inline: true, filename: "thumbnail." + info.Format, etag: h.String(),
		}, nil
	}
	f.Close()
	want.animated = want.animated && info.Animated
	err = t.make(ctx, h, info, want)
	if want.animated && errors.Is(err, thumbnail.ErrStill) {
		t.stills.Add(h, struct{}{})
		want.animated = false
		err = t.make(ctx, h, info, want)
	}
	if err != nil {
		return nil, err
	}
	return t.store.openThumbnail(h, want)
}

// remember keeps an error that would be the same next time.
func (t *thumbnailer) remember(h fileHash, err error) {
	if errors.Is(err, thumbnail.ErrUnsupported) || errors.Is(err, thumbnail.ErrTooLarge) {
		t.hopeless.Add(h, err)
	}
}

// make puts a thumbnail into the store, or waits for the one who is doing it.
// When ctx ends the work goes on, for those who will ask again.
func (t *thumbnailer) make(ctx context.Context, h fileHash, info *thumbnail.Info, v variant) error {
	if err := t.early.wait(ctx, h); err != nil {
		return err
	}
	done := t.flights.DoChan(h.String()+"/"+v.String(), func() (any, error) {
		if t.queued.Add(1) > maxQueued {
			t.queued.Add(-1)
			return nil, errBusy
		}
		defer t.queued.Add(-1)
		t.making.RLock()
		defer t.making.RUnlock()
		err := t.makeNow(h, info, v)
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

func (t *thumbnailer) makeNow(h fileHash, info *thumbnail.Info, v variant) error {
	if t.store.hasThumbnail(h, v) { // made since the caller looked
		return nil
	}
	if !v.animated && slices.Contains(thumbnail.Specified, v.size) && t.early.take(h) {
		defer t.early.end(h)
		return t.makeSpecified(h)
	}
	if v.animated {
		return t.animate(h, info, v)
	}
	var made *unsaved
	err := t.work(info.Cost(v.size), func(ctx context.Context) error {
		f, err := t.store.openImage(ctx, h)
		if err != nil {
			return err
		}
		defer f.Close()
		made, err = t.store.writeThumbnail(v, info.OutputType(), func(w io.Writer) error {
			return thumbnail.Make(ctx, f, info, v.size, w)
		})
		return err
	})
	if err != nil {
		return err
	}
	return t.store.saveThumbnails(h, made)
}

// animate makes an animated thumbnail, or says by thumbnail.ErrStill that it can't be done.
// The file is open only while there is room for the work, so it is inspected twice.
func (t *thumbnailer) animate(h fileHash, info *thumbnail.Info, v variant) error {
	inspect := func(ctx context.Context, then func(*thumbnail.Animation) error) error {
		f, err := t.store.openImage(ctx, h)
		if err != nil {
			return err
		}
		defer f.Close()
		a, err := thumbnail.InspectAnimation(ctx, f, info)
		if err != nil {
			return err
		}
		return then(a)
	}
	var cost int64
	err := inspect(t.ctx, func(a *thumbnail.Animation) error {
		cost = a.Cost(v.size)
		return nil
	})
	if err != nil {
		return err
	}
	var made *unsaved
	err = t.work(cost, func(ctx context.Context) error {
		return inspect(ctx, func(a *thumbnail.Animation) (err error) {
			made, err = t.store.writeThumbnail(v, thumbnail.AnimatedType, func(w io.Writer) error {
				return a.Make(ctx, v.size, w)
			})
			return err
		})
	})
	if errors.Is(err, thumbnail.ErrTooLarge) { // for an animation, which is no reason to remember
		return fmt.Errorf("%w: %v", thumbnail.ErrStill, err)
	}
	if err != nil {
		return err
	}
	return t.store.saveThumbnails(h, made)
}

// work runs what takes cost bytes of memory, when there is room for it, and for no longer
// than thumbnailTime. It keeps a core busy: what waits for the disk is better done after it.
func (t *thumbnailer) work(cost int64, do func(context.Context) error) error {
	share := int64(thumbnailMemory / runtime.GOMAXPROCS(0))
	weight := min(max(cost, share), thumbnailMemory)
	if err := t.budget.Acquire(t.ctx, weight); err != nil {
		return fmt.Errorf("waiting to make a thumbnail: %w", err)
	}
	defer t.budget.Release(weight)
	ctx, cancel := context.WithTimeout(t.ctx, thumbnailTime)
	defer cancel()
	err := do(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: it takes too long to decode", thumbnail.ErrTooLarge)
	}
	return err
}
