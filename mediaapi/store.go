package mediaapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// store keeps files by the SHA-256 of their content:
//
//	files/ab/<the other 62 digits>      the files, each once
//	thumbnails/ab/<62 digits>/<variant> what was made from them
//	tmp/                                what is being written
//
// A file appears under its name only when it is whole and on the disk.
// Thumbnails are a cache: they may be deleted at any time.
type store struct{ root string }

// fileHash is the SHA-256 that names a file.
type fileHash [sha256.Size]byte

func (h fileHash) String() string { return hex.EncodeToString(h[:]) }

// errTooLarge is receive's refusal of more bytes than its limit.
var errTooLarge = errors.New("the content is larger than the limit")

// errSource wraps a failure to read what is being stored, as opposed to a
// failure of the disk.
var errSource = errors.New("the content could not be read to its end")

// openStore prepares the folders, so that storing a file creates none (and needs
// none synced), and deletes what an earlier process left in tmp; the caller owns
// the data directory, so nobody else is writing there.
func openStore(root string) (*store, error) {
	s := &store{root: root}
	if err := os.RemoveAll(s.tmp()); err != nil {
		return nil, fmt.Errorf("clearing unfinished uploads: %w", err)
	}
	dirs := []string{s.tmp(), filepath.Join(root, "thumbnails")}
	for i := range 256 {
		dirs = append(dirs, filepath.Join(root, "files", fmt.Sprintf("%02x", i)))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("creating the media store: %w", err)
		}
	}
	for _, dir := range []string{filepath.Join(root, "files"), root, filepath.Dir(root)} {
		if err := syncDir(dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *store) tmp() string { return filepath.Join(s.root, "tmp") }

func (s *store) path(kind string, h fileHash) string {
	name := h.String()
	return filepath.Join(s.root, kind, name[:2], name[2:])
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
	f, err := os.CreateTemp(s.tmp(), "upload-")
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

// keep moves a received file to its place and returns when that is durable. A
// file with the same content is replaced by its equal.
func (s *store) keep(f *received) error {
	path := s.path("files", f.hash)
	if err := os.Rename(f.path, path); err != nil {
		return fmt.Errorf("storing a file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// open opens a stored file for reading.
func (s *store) open(h fileHash) (*os.File, error) {
	f, err := os.Open(s.path("files", h))
	if err != nil {
		return nil, fmt.Errorf("opening a stored file: %w", err)
	}
	return f, nil
}

// remove deletes a file and its thumbnails. A file that isn't there is no error.
func (s *store) remove(h fileHash) error {
	if err := os.RemoveAll(s.path("thumbnails", h)); err != nil {
		return fmt.Errorf("deleting thumbnails: %w", err)
	}
	if err := os.Remove(s.path("files", h)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("deleting a stored file: %w", err)
	}
	return nil
}

// syncDir makes the entries of a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening a folder to sync it: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing a folder: %w", err)
	}
	return nil
}
