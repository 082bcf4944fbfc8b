package mediaapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hearth/storage"
)

// Copied is what Copy has done.
type Copied struct {
	Files, Bytes int64
	// There were there already; Missing are known but not where they should be.
	There, Missing int64
}

// Copy copies all files that media need from the data directory into the bucket, or back.
// The server may run meanwhile: files never change. With move it must not, and what was
// copied is deleted where it came from.
func Copy(ctx context.Context, db *storage.DB, dataDir string, b *Bucket, toBucket, move bool) (*Copied, error) {
	root := filepath.Join(dataDir, "media")
	tmp := filepath.Join(root, "copying") // not the server's, which it clears
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return nil, fmt.Errorf("creating a folder to copy media: %w", err)
	}
	defer os.RemoveAll(tmp)
	local, err := newDisk(root)
	if err != nil {
		return nil, err
	}
	remote, err := newBucket(ctx, b)
	if err != nil {
		return nil, err
	}
	c := &copier{store: &store{root: root, tmp: tmp}, from: local, to: remote, move: move}
	if !toBucket {
		c.from, c.to = remote, local
	}
	var after []byte
	for {
		files, err := db.MediaFiles(ctx, after, collectBatch)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if err := c.copy(ctx, fileHash(f.SHA256), f.Size); err != nil {
				return nil, fmt.Errorf("copying %x: %w", f.SHA256, err)
			}
			after = f.SHA256
		}
		if len(files) < collectBatch {
			return &c.Copied, nil
		}
	}
}

type copier struct {
	Copied
	store    *store
	from, to place
	move     bool
}

func (c *copier) copy(ctx context.Context, h fileHash, size int64) error {
	there, err := c.to.open(ctx, h)
	switch {
	case err == nil:
		there.Close()
		c.There++
	case !errors.Is(err, os.ErrNotExist):
		return err
	default:
		if err := c.copyNow(ctx, h, size); errors.Is(err, os.ErrNotExist) {
			c.Missing++
			return nil
		} else if err != nil {
			return err
		}
		c.Files++
		c.Bytes += size
	}
	if c.move {
		return c.from.remove(ctx, h)
	}
	return nil
}

func (c *copier) copyNow(ctx context.Context, h fileHash, size int64) error {
	src, err := c.from.open(ctx, h)
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := c.store.receive(src, size)
	if err != nil {
		return err
	}
	if f.hash != h {
		f.discard()
		return errors.New("the file isn't what was stored")
	}
	if err := c.to.put(ctx, f); err != nil {
		f.discard()
		return err
	}
	return nil
}
