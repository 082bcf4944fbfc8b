// Package thumbnail makes thumbnails of PNG, JPEG, GIF and WebP images that a
// stranger may have crafted: everything that bounds the work is read from the
// headers before a pixel is decoded. It knows files and sizes, no HTTP and no
// media ids.
package thumbnail

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
)

// ErrUnsupported says that the content isn't an image this package can decode.
var ErrUnsupported = errors.New("not an image that can be thumbnailed")

// ErrTooLarge says that decoding the image would take more pixels or memory than
// MaxPixels and MaxDecoded allow.
var ErrTooLarge = errors.New("the image is too large to be thumbnailed")

const (
	// MaxPixels bounds width × height of what is decoded.
	MaxPixels = 50 << 20
	// MaxDecoded bounds the memory that decoding takes, in bytes.
	MaxDecoded = 256 << 20
	// jpegQuality is where artefacts stop to be seen at thumbnail sizes.
	jpegQuality = 85
)

// File is an image's file.
type File interface {
	io.ReaderAt
	// Size is the file's length in bytes.
	Size() int64
}

// Make writes the thumbnail of the given size to w, as info.OutputType. The file
// must be the one that info was read from. It returns an error that wraps
// ErrUnsupported if the image turns out to be broken, and ctx's error if ctx
// ends first.
func Make(ctx context.Context, f File, info *Info, size Size, w io.Writer) error {
	d, err := Decode(ctx, f, info)
	if err != nil {
		return err
	}
	return d.Make(ctx, size, w)
}

// Decoded is a decoded image that thumbnails of several sizes are made of.
type Decoded struct {
	info *Info
	src  picture
	// smaller is the whole image at the size of the last thumbnail that showed all of it, before it
	// was turned; nil if there was none.
	smaller *image.RGBA
}

// Decode decodes an image, or the first frame of an animation; see Make.
func Decode(ctx context.Context, f File, info *Info) (_ *Decoded, err error) {
	defer recovered(&err, ErrUnsupported)
	src, err := decode(ctx, f, info)
	if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("decoding an image: %w", cause)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return &Decoded{info: info, src: src}, nil
}

// Make writes a thumbnail; see the function Make. It is made of a thumbnail before it, if that
// has twice as many pixels in each direction: nobody sees a difference, and it is much less work.
func (d *Decoded) Make(ctx context.Context, size Size, w io.Writer) (err error) {
	defer recovered(&err, ErrUnsupported)
	src, p := d.src, d.info.plan(size)
	if q, ok := p.from(d.smaller, d.info.stored); ok {
		src, p = picture{Image: d.smaller}, q
	}
	small, err := shrink(ctx, src, p)
	if err != nil {
		return fmt.Errorf("scaling an image: %w", err)
	}
	if size.Method == Scale {
		d.smaller = small
	}
	if err := encode(w, orient(small, d.info.orientation), d.info.OutputType()); err != nil {
		return fmt.Errorf("writing a thumbnail: %w", err)
	}
	return nil
}

// recovered makes a panic an error: decoders of complicated formats have panicked on
// hostile input before.
func recovered(err *error, kind error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: the decoder failed: %v", kind, p)
	}
}

func encode(w io.Writer, img image.Image, contentType string) error {
	if contentType == "image/jpeg" {
		return jpeg.Encode(w, img, &jpeg.Options{Quality: jpegQuality})
	}
	return png.Encode(w, img)
}
