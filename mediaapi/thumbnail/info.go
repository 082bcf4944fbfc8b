package thumbnail

import (
	"bytes"
	"fmt"
	"image"
	"image/gif"
	"io"
)

// Info is what an image's headers say.
type Info struct {
	// Format is "png", "jpeg", "gif" or "webp".
	Format string
	// Width and Height are the sides of the image as it is displayed.
	Width, Height int
	// Animated says that the file may hold more than one frame.
	Animated bool
	// Personal says that the file may tell more than what is seen: where it was taken, by whom.
	Personal bool

	stored      image.Point // the sides as stored, before orientation
	orientation int         // EXIF, 1 to 8
	opaque      bool        // no alpha channel
	decoded     int64       // bytes that decoding takes
	still       *still      // the frame to decode of a WebP
}

// ContentType is the image's own type.
func (i *Info) ContentType() string { return "image/" + i.Format }

// OutputType is the type of thumbnails made of the image: JPEG for photos, PNG
// for what needs transparency or sharp edges.
func (i *Info) OutputType() string {
	if i.Format == "jpeg" || i.Format == "webp" && i.opaque {
		return "image/jpeg"
	}
	return "image/png"
}

func (i *Info) swapsSides() bool { return i.orientation >= 5 }

// Inspect reads an image's headers. What the file is called or claimed to be
// doesn't matter, only its bytes. It returns an error that wraps ErrUnsupported
// or ErrTooLarge if no thumbnail will be made of it.
func Inspect(f File) (*Info, error) {
	i := &Info{orientation: 1}
	if err := i.read(f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if i.stored.X <= 0 || i.stored.Y <= 0 {
		return nil, fmt.Errorf("%w: it has no pixels", ErrUnsupported)
	}
	if int64(i.stored.X)*int64(i.stored.Y) > MaxPixels || i.decoded > MaxDecoded {
		return nil, fmt.Errorf("%w: %d × %d pixels", ErrTooLarge, i.stored.X, i.stored.Y)
	}
	i.Width, i.Height = i.stored.X, i.stored.Y
	if i.swapsSides() {
		i.Width, i.Height = i.Height, i.Width
	}
	return i, nil
}

func (i *Info) read(f File) error {
	var magic [12]byte
	n, err := f.ReadAt(magic[:], 0)
	if err != nil && err != io.EOF {
		return err
	}
	head := magic[:n]
	switch {
	case bytes.HasPrefix(head, []byte(pngSignature)):
		return i.readPNG(f)
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return i.readJPEG(f)
	case bytes.HasPrefix(head, []byte("GIF8")):
		return i.readGIF(f)
	case len(head) == 12 && string(head[:4]) == "RIFF" && string(head[8:]) == "WEBP":
		return i.readWebP(f)
	}
	return fmt.Errorf("unknown format")
}

func (i *Info) readGIF(f File) error {
	c, err := gif.DecodeConfig(whole(f))
	if err != nil {
		return err
	}
	i.Format = "gif"
	i.stored = image.Pt(c.Width, c.Height)
	// Whether there is a second frame is known only after reading the first.
	i.Animated = true
	i.decoded = pixels(c.Width, c.Height)
	return nil
}

func whole(f File) *io.SectionReader { return io.NewSectionReader(f, 0, f.Size()) }

func pixels(w, h int) int64 { return int64(w) * int64(h) }

// section reads length bytes at an offset, or fails if the file is shorter.
func section(f File, at, length int64) ([]byte, error) {
	if at < 0 || length < 0 || at+length > f.Size() {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, length)
	if _, err := f.ReadAt(b, at); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}
