package mediaapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// store keeps files by the SHA-256 of their content:
//
//	files/ab/<the other 62 digits>      the files, each once
//	thumbnails/ab/<62 digits>/<variant> what was made from them
//	tmp/                                what is being written
//
// A file appears under its name only when it is whole and on the disk.
// Thumbnails are a cache: they may be deleted at any time. With a bucket, files are
// kept there and the rest here.
type store struct {
	root, tmp string
	files     place
}

// fileHash is the SHA-256 that names a file.
type fileHash [sha256.Size]byte

func (h fileHash) String() string { return hex.EncodeToString(h[:]) }

// errTooLarge is receive's refusal of more bytes than its limit.
var errTooLarge = errors.New("the content is larger than the limit")

// errSource wraps a failure to read what is being stored, as opposed to a
// failure of the disk.
var errSource = errors.New("the content could not be read to its end")

// place is where files are kept: the disk or a bucket.
type place interface {
	// put takes a received file over, durably.
	put(ctx context.Context, f *received) error
	// open opens a file for reading while ctx lasts; the error wraps os.ErrNotExist if it
	// isn't there.
	open(ctx context.Context, h fileHash) (io.ReadSeekCloser, error)
	// remove deletes a file. One that isn't there is no error.
	remove(ctx context.Context, h fileHash) error
	// sweep deletes what was left longer than age ago by puts that were cut off.
	sweep(ctx context.Context, age time.Duration) error
}

// openStore prepares the folders and deletes what an earlier process left in tmp; the
// caller owns the data directory, so nobody else is writing there. Files are kept in the
// bucket, if there is one.
func openStore(root string, b *Bucket) (*store, error) {
	s := &store{root: root, tmp: filepath.Join(root, "tmp")}
	if err := os.RemoveAll(s.tmp); err != nil {
		return nil, fmt.Errorf("clearing unfinished uploads: %w", err)
	}
	for _, dir := range []string{s.tmp, filepath.Join(root, "thumbnails")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("creating the media store: %w", err)
		}
	}
	var err error
	if b != nil {
		s.files, err = newBucket(context.Background(), b)
	} else {
		s.files, err = newDisk(root)
	}
	return s, err
}

// thumbnailDir is where a file's thumbnails are.
func (s *store) thumbnailDir(h fileHash) string {
	name := h.String()
	return filepath.Join(s.root, "thumbnails", name[:2], name[2:])
}

// received is a file that lies whole in tmp. Its owner ends it with keep or discard.
type received struct {
	path string
	hash fileHash
	size int64
}

func (f *received) discard() { os.Remove(f.path) }

// receive streams r to the disk while hashing it, holding no more than a buffer
// of it in memory. It returns errTooLarge after limit bytes, and an error that
// wraps errSource if reading failed.
func (s *store) receive(r io.Reader, limit int64) (_ *received, err error) {
	f, err := os.CreateTemp(s.tmp, "upload-")
	if err != nil {
		return nil, fmt.Errorf("creating a file for an upload: %w", err)
	}
	got := &received{path: f.Name()}
	defer func() {
		if err != nil {
			f.Close()
			got.discard()
		}
	}()
	sum := sha256.New()
	src := &sourceReader{r: r}
	got.size, err = io.Copy(io.MultiWriter(f, sum), io.LimitReader(src, limit+1))
	switch {
	case src.err != nil:
		return nil, fmt.Errorf("%w: %w", errSource, src.err)
	case err != nil:
		return nil, fmt.Errorf("writing an upload: %w", err)
	case got.size > limit:
		return nil, errTooLarge
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("syncing an upload: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("closing an upload: %w", err)
	}
	sum.Sum(got.hash[:0])
	return got, nil
}

// sourceReader remembers why reading failed, which io.Copy doesn't tell apart
// from why writing failed.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// remove deletes a file and its thumbnails. A file that isn't there is no error.
func (s *store) remove(ctx context.Context, h fileHash) error {
	if err := os.RemoveAll(s.thumbnailDir(h)); err != nil {
		return fmt.Errorf("deleting thumbnails: %w", err)
	}
	return s.files.remove(ctx, h)
}
