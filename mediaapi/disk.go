package mediaapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// disk is a folder of files, each durable when it appears under its name.
type disk struct{ root string }

// newDisk prepares the folders, so that storing a file creates none (and needs none
// synced).
func newDisk(root string) (*disk, error) {
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(root, "files", fmt.Sprintf("%02x", i)), 0o700); err != nil {
			return nil, fmt.Errorf("creating the media store: %w", err)
		}
	}
	for _, dir := range []string{filepath.Join(root, "files"), root, filepath.Dir(root)} {
		if err := syncDir(dir); err != nil {
			return nil, err
		}
	}
	return &disk{root}, nil
}

func (d *disk) path(h fileHash) string {
	name := h.String()
	return filepath.Join(d.root, "files", name[:2], name[2:])
}

// put moves a received file to its place. A file with the same content is replaced by
// its equal.
func (d *disk) put(_ context.Context, f *received) error {
	path := d.path(f.hash)
	if err := os.Rename(f.path, path); err != nil {
		return fmt.Errorf("storing a file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func (d *disk) open(_ context.Context, h fileHash) (io.ReadSeekCloser, error) {
	f, err := os.Open(d.path(h))
	if err != nil {
		return nil, fmt.Errorf("opening a stored file: %w", err)
	}
	return f, nil
}

func (d *disk) remove(_ context.Context, h fileHash) error {
	if err := os.Remove(d.path(h)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("deleting a stored file: %w", err)
	}
	return nil
}

// sweep has nothing to do: what is being received lies in tmp, which is cleared at the start.
func (d *disk) sweep(context.Context, time.Duration) error { return nil }

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
