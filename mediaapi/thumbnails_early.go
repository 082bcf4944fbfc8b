package mediaapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"hearth/mediaapi/thumbnail"
)

// maxEarly bounds the images that wait for the specified thumbnails to be made. What
// comes when it is full gets them when they are asked for.
const maxEarly = 256

// early makes the specified sizes of what was uploaded, before anybody asks: one image
// after the other, so that the thumbnails that somebody waits for have the rest.
type early struct {
	added chan struct{} // a signal that something was added
	mu    sync.Mutex
	queue []fileHash
	// current is the image being worked on while done isn't nil; that is closed behind it.
	current fileHash
	done    chan struct{}
}

func newEarly() *early { return &early{added: make(chan struct{}, 1)} }

// add has the thumbnails of an image made soon. It never waits.
func (e *early) add(h fileHash) {
	e.mu.Lock()
	if len(e.queue) < maxEarly {
		e.queue = append(e.queue, h)
	}
	e.mu.Unlock()
	select {
	case e.added <- struct{}{}:
	default:
	}
}

// next begins with the next image. It ends the one before.
func (e *early) next() (h fileHash, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done != nil {
		close(e.done)
		e.done = nil
	}
	if len(e.queue) == 0 {
		e.queue = nil
		return h, false
	}
	e.current, e.done = e.queue[0], make(chan struct{})
	e.queue = e.queue[1:]
	return e.current, true
}

// wait returns when nobody is working on this image early.
func (e *early) wait(ctx context.Context, h fileHash) error {
	e.mu.Lock()
	current, done := e.current, e.done
	e.mu.Unlock()
	if done == nil || current != h {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// makeEarly works until ctx ends.
func (t *thumbnailer) makeEarly(ctx context.Context, log *slog.Logger) {
	for {
		select {
		case <-t.early.added:
		case <-ctx.Done():
			return
		}
		for h, ok := t.early.next(); ok; h, ok = t.early.next() {
			if err := t.makeSpecified(h); err != nil && ctx.Err() == nil {
				log.Debug("no thumbnails were made of an upload", "sha256", h, "err", err)
			}
		}
	}
}

// makeSpecified decodes an image once and makes those of the specified sizes that aren't
// there and are smaller than the image.
func (t *thumbnailer) makeSpecified(h fileHash) error {
	f, err := t.store.openImage(t.ctx, h)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := thumbnail.Inspect(f)
	if err != nil {
		return err
	}
	var sizes []thumbnail.Size
	for _, size := range thumbnail.Specified {
		if (info.Animated || !size.Holds(info)) && !t.store.hasThumbnail(h, variant{size: size}) {
			sizes = append(sizes, size)
		}
	}
	if len(sizes) == 0 {
		return nil
	}
	return t.work(info.Cost(sizes...), func(ctx context.Context) error {
		decoded, err := thumbnail.Decode(ctx, f, info)
		if err != nil {
			return err
		}
		for _, size := range sizes {
			err := t.store.saveThumbnail(h, variant{size: size}, info.OutputType(), func(w io.Writer) error {
				return decoded.Make(ctx, size, w)
			})
			if err != nil {
				return fmt.Errorf("making the size %v: %w", size, err)
			}
		}
		return nil
	})
}
