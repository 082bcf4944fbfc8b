package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/png" // a thumbnail may be one
	"io"
	"sync"
	"sync/atomic"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
	"hearth/cmd/hearth-bench/internal/procfs"
	"hearth/cmd/hearth-bench/internal/stats"
)

// maxMediaBytes ends a measurement that has moved so much.
const maxMediaBytes = 2 << 30

// thumbnailWidth and thumbnailHeight are one of the sizes that the specification names.
const thumbnailWidth, thumbnailHeight = 320, 240

// runMedia measures files of several sizes on their way up and down, each compared with
// what it was, and photos until their thumbnail is there. Files are never in the tool's memory.
func runMedia(ctx context.Context, e *Env, report func(Result)) error {
	owner, err := e.accounts(ctx, "photographer", 1)
	if err != nil {
		return err
	}
	f := matrix.NewFiles(e.Target, owner[0], e.MediaClients)
	defer f.Close()
	for _, kib := range e.MediaSizes {
		size := int64(kib) << 10
		up := Result{Case: fmt.Sprintf("uploads of %s, %d at a time", sizeName(size), e.MediaClients)}
		shelf, err := e.uploads(ctx, f, size, &up)
		if err != nil {
			up.Error = err.Error()
		}
		report(up)
		if len(shelf) == 0 {
			continue
		}
		down := Result{Case: fmt.Sprintf("downloads of %s, %d at a time", sizeName(size), e.MediaClients)}
		if err := e.downloads(ctx, f, shelf, &down); err != nil {
			down.Error = err.Error()
		}
		report(down)
	}
	r := Result{Case: fmt.Sprintf("thumbnails of %d×%d JPEG, %d at a time", photoWidth, photoHeight, e.MediaClients)}
	if err := e.thumbnails(ctx, f, &r); err != nil {
		r.Error = err.Error()
	}
	report(r)
	return nil
}

// shelved is a file that was uploaded.
type shelved struct {
	content
	media string
}

func (e *Env) uploads(ctx context.Context, f *matrix.Files, size int64, r *Result) ([]shelved, error) {
	var mu sync.Mutex
	var shelf []shelved
	err := e.moveMedia(ctx, r, func(ctx context.Context) (int64, error) {
		c := newContent(size)
		media, err := f.Upload(ctx, c.reader(), size, "application/octet-stream")
		if err != nil {
			return 0, err
		}
		mu.Lock()
		defer mu.Unlock()
		shelf = append(shelf, shelved{c, media})
		return size, nil
	})
	return shelf, err
}

func (e *Env) downloads(ctx context.Context, f *matrix.Files, shelf []shelved, r *Result) error {
	var next, changed atomic.Int64
	err := e.moveMedia(ctx, r, func(ctx context.Context) (int64, error) {
		s := &shelf[int(next.Add(1)-1)%len(shelf)]
		err := f.Download(ctx, s.media, s.check)
		if errors.Is(err, errChanged) {
			changed.Add(1)
			err = nil
		}
		return s.size, err
	})
	r.judge(check.Verdict{Acknowledged: int(min(next.Load(), int64(len(shelf)))), Changed: int(changed.Load()), Readers: 1})
	return err
}

// thumbnails measures photos from before they are uploaded until a thumbnail was read.
// An answer with the photo itself isn't one.
func (e *Env) thumbnails(ctx context.Context, f *matrix.Files, r *Result) error {
	photo() // isn't made within the measurement
	var whole atomic.Int64
	err := e.moveMedia(ctx, r, func(ctx context.Context) (int64, error) {
		b := newPhoto()
		media, err := f.Upload(ctx, bytes.NewReader(b), int64(len(b)), "image/jpeg")
		if err != nil {
			return 0, err
		}
		err = f.Thumbnail(ctx, media, thumbnailWidth, thumbnailHeight, func(in io.Reader) error {
			c, _, err := image.DecodeConfig(in)
			if err == nil && c.Width >= photoWidth {
				err = errWhole
			}
			_, _ = io.Copy(io.Discard, in)
			return err
		})
		if errors.Is(err, errWhole) {
			whole.Add(1)
			return 0, nil
		}
		return int64(len(b)), err
	})
	if n := whole.Load(); n > 0 {
		r.note("%d of the answers were the photo itself, which isn't counted as a file", n)
	}
	return err
}

// errWhole says that an image is no smaller than the one it was to be made of.
var errWhole = errors.New("the thumbnail is the photo itself")

// moveMedia repeats move from every client until the duration is over or so much was
// moved that it is enough; what has begun is ended. The first error ends it.
func (e *Env) moveMedia(ctx context.Context, r *Result, move func(context.Context) (int64, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	memory := e.watchMemory(ctx)
	from, err := e.Watch.CPU()
	if err != nil {
		return err
	}
	var h stats.Histogram
	var moved atomic.Int64
	var wg sync.WaitGroup
	for range e.MediaClients {
		wg.Go(func() {
			for ctx.Err() == nil && time.Since(from.At) < e.Duration && moved.Load() < maxMediaBytes {
				at := time.Now()
				n, err := move(ctx)
				if err != nil {
					cancel(err)
					return
				}
				if n > 0 {
					h.Record(time.Since(at))
					moved.Add(n)
				}
			}
		})
	}
	wg.Wait()
	to, err := e.Watch.CPU()
	if err == nil {
		err = context.Cause(ctx)
	}
	most := memory()
	if err != nil {
		return err
	}
	seconds := to.At.Sub(from.At).Seconds()
	r.add("rate", "MB/s", float64(moved.Load())/1e6/seconds)
	r.add("files", "1/s", float64(h.Count())/seconds)
	r.latencies("", &h)
	r.cores(from, to)
	r.per("file", from, to, h.Count())
	if most > 0 {
		r.add("server memory, most", "MiB", float64(most)/(1<<20))
	}
	return nil
}

// watchMemory notes the most memory that the server holds until the returned function is called.
func (e *Env) watchMemory(ctx context.Context) func() int64 {
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan int64, 1)
	go func() {
		var n int64
		server := procfs.Watch{Server: e.Watch.Server}
		for {
			if u, err := server.Memory(); err == nil {
				n = max(n, u.ServerMemory)
			}
			if sleep(ctx, 50*time.Millisecond) != nil {
				most <- n
				return
			}
		}
	}()
	return func() int64 {
		cancel()
		return <-most
	}
}

// sizeName writes a size as people do.
func sizeName(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
