package mediaapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"

	"hearth/mediaapi/thumbnail"
)

// maxEarly bounds the images that wait for the specified thumbnails to be made. What
// comes when it is full gets them when they are asked for.
const maxEarly = 256

// early makes the specified sizes of what was uploaded, before anybody asks: one image
// after the other, so that the thumbnails that somebody waits for have the rest. Who asks for
// one of them takes the image out of the queue, so that it is decoded once.
type early struct {
	added chan struct{} // a signal that something was added
	mu    sync.Mutex
	queue []fileHash
	// working are the images being worked on; each is closed behind that.
	working map[fileHash]chan struct{}
}

func newEarly() *early {
	return &early{added: make(chan struct{}, 1), working: map[fileHash]chan struct{}{}}
}

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

// next begins with the next image. The caller ends it.
func (e *early) next() (h fileHash, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.queue) > 0 {
		h, e.queue = e.queue[0], e.queue[1:]
		if e.begin(h) {
			return h, true
		}
	}
	e.queue = nil
	return h, false
}

// take begins with an image that is in the queue. The caller ends it.
func (e *early) take(h fileHash) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.Index(e.queue, h)
	if i < 0 {
		return false
	}
	e.queue = slices.Delete(e.queue, i, i+1)
	return e.begin(h)
}

// begin fails if somebody works on the image already. e.mu must be held.
func (e *early) begin(h fileHash) bool {
	if e.working[h] != nil {
		return false
	}
	e.working[h] = make(chan struct{})
	return true
}

func (e *early) end(h fileHash) {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.working[h])
	delete(e.working, h)
}

// wait returns when nobody is working on all sizes of this image.
func (e *early) wait(ctx context.Context, h fileHash) error {
	e.mu.Lock()
	done := e.working[h]
	e.mu.Unlock()
	if done == nil {
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
			err := t.makeSpecified(h)
			t.early.end(h)
			if err != nil && ctx.Err() == nil {
				log.Debug("no thumbnails were made of an upload", "sha256", h, "err", err)
			}
		}
	}
}

// makeSpecified decodes an image once and makes those of the specified sizes that aren't
// there and for which the image itself doesn't do.
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
		if (info.Animated || info.Personal || !size.Holds(info)) && !t.store.hasThumbnail(h, variant{size: size}) {
			sizes = append(sizes, size)
		}
	}
	if len(sizes) == 0 {
		return nil
	}
	var made []*unsaved
	err = t.work(info.Cost(sizes...), func(ctx context.Context) error {
		decoded, err := thumbnail.Decode(ctx, f, info)
		if err != nil {
			return err
		}
		for _, size := range sizes {
			one, err := t.store.writeThumbnail(variant{size: size}, info.OutputType(), func(w io.Writer) error {
				return decoded.Make(ctx, size, w)
			})
			if err != nil {
				return fmt.Errorf("making the size %v: %w", size, err)
			}
			made = append(made, one)
		}
		return nil
	})
	return errors.Join(err, t.store.saveThumbnails(h, made...))
}
