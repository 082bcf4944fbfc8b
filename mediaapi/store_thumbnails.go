package mediaapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"hearth/mediaapi/thumbnail"
)

// maxVariants bounds the thumbnails kept of one file; the oldest make room.
const maxVariants = 32

// thumbnailTypes are the types of thumbnails that are kept, by file extension.
var thumbnailTypes = map[string]string{".png": "image/png", ".jpeg": "image/jpeg", ".webp": "image/webp"}

// imageFile is a stored file as package thumbnail reads it.
type imageFile struct {
	*os.File
	size int64
}

func (f *imageFile) Size() int64 { return f.size }

// openImage opens a stored file to make thumbnails of it. What isn't on the disk is
// copied there first: decoders read many small pieces.
func (s *store) openImage(ctx context.Context, h fileHash) (*imageFile, error) {
	stored, err := s.files.open(ctx, h)
	if err != nil {
		return nil, err
	}
	f, local := stored.(*os.File)
	if !local {
		defer stored.Close()
		if f, err = s.spool(stored); err != nil {
			return nil, err
		}
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening a stored file: %w", err)
	}
	return &imageFile{f, st.Size()}, nil
}

// spool copies to a file that is gone when it is closed.
func (s *store) spool(src io.Reader) (*os.File, error) {
	f, err := os.CreateTemp(s.tmp, "spool-")
	if err != nil {
		return nil, fmt.Errorf("creating a file for an image: %w", err)
	}
	os.Remove(f.Name())
	if _, err := io.Copy(f, src); err != nil {
		f.Close()
		return nil, fmt.Errorf("copying an image: %w", err)
	}
	return f, nil
}

// inspect reads the headers of a received file that should be an image.
func (f *received) inspect() (*thumbnail.Info, error) {
	opened, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("opening a received file: %w", err)
	}
	defer opened.Close()
	return thumbnail.Inspect(&imageFile{opened, f.size})
}

// openThumbnail opens a thumbnail that was saved, or returns an error that wraps
// os.ErrNotExist.
func (s *store) openThumbnail(h fileHash, v variant) (*served, error) {
	for extension, contentType := range thumbnailTypes {
		f, err := os.Open(filepath.Join(s.thumbnailDir(h), v.String()+extension))
		if err == nil {
			return &served{
				file: f, contentType: contentType, inline: true, filename: "thumbnail" + extension, etag: h.String() + "-" + v.String(),
			}, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("opening a thumbnail: %w", err)
		}
	}
	return nil, fmt.Errorf("opening a thumbnail: %w", os.ErrNotExist)
}

// hasThumbnail reports whether a thumbnail was saved.
func (s *store) hasThumbnail(h fileHash, v variant) bool {
	for extension := range thumbnailTypes {
		if _, err := os.Stat(filepath.Join(s.thumbnailDir(h), v.String()+extension)); err == nil {
			return true
		}
	}
	return false
}

// unsaved is a thumbnail that was written and isn't in its place yet.
type unsaved struct {
	*os.File
	name string // that it will have
}

func (u *unsaved) discard() {
	u.Close()
	os.Remove(u.Name()) // gone by then if it was saved
}

// writeThumbnail has write make a variant's thumbnail, of this type.
func (s *store) writeThumbnail(v variant, contentType string, write func(io.Writer) error) (*unsaved, error) {
	for extension, t := range thumbnailTypes {
		if t != contentType {
			continue
		}
		tmp, err := os.CreateTemp(s.tmp, "thumbnail-")
		if err != nil {
			return nil, fmt.Errorf("creating a file for a thumbnail: %w", err)
		}
		u := &unsaved{tmp, v.String() + extension}
		if err := write(tmp); err != nil {
			u.discard()
			return nil, err
		}
		return u, nil
	}
	return nil, fmt.Errorf("thumbnails of type %s aren't kept", contentType)
}

// saveThumbnails keeps what was written as thumbnails of h, all that can be.
func (s *store) saveThumbnails(h fileHash, list ...*unsaved) error {
	if len(list) == 0 {
		return nil
	}
	dir := s.thumbnailDir(h)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating a folder for thumbnails: %w", err)
	}
	if err := makeRoom(dir, len(list)); err != nil {
		return fmt.Errorf("deleting old thumbnails: %w", err)
	}
	// At the same time, since that takes a disk hardly longer than one.
	var saving errgroup.Group
	for _, u := range list {
		saving.Go(func() error { return u.save(dir) })
	}
	return saving.Wait()
}

func (u *unsaved) save(dir string) error {
	defer u.discard()
	// Without this a crash of the machine could leave an empty thumbnail for ever.
	if err := u.Sync(); err != nil {
		return fmt.Errorf("syncing a thumbnail: %w", err)
	}
	if err := os.Rename(u.Name(), filepath.Join(dir, u.name)); err != nil {
		return fmt.Errorf("saving a thumbnail: %w", err)
	}
	return nil
}

// makeRoom deletes the oldest thumbnails in dir until there is room for so many more.
func makeRoom(dir string, more int) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries)+more <= maxVariants {
		return err
	}
	var files []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, f := range files[:max(0, len(files)-maxVariants+more)] {
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
