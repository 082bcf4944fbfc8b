package thumbnail

import (
	"bufio"
	"context"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/webp"
)

// decode decodes the image, or the first frame of an animation. Reading fails
// when ctx ends, which is what stops a decoder: a small file can keep one busy
// for minutes, as a progressive JPEG with thousands of scans does.
func decode(ctx context.Context, f File, info *Info) (picture, error) {
	limited := func(r io.Reader) io.Reader { return bufio.NewReader(&contextReader{ctx, r}) }
	var p picture
	var err error
	switch info.Format {
	case "png":
		p.Image, err = png.Decode(limited(whole(f)))
	case "jpeg":
		p.Image, err = jpeg.Decode(limited(whole(f)))
	case "gif":
		p.Image, err = gif.Decode(limited(whole(f)))
	case "webp":
		p.at = info.still.at
		p.Image, err = webp.Decode(limited(info.still.reader(f)))
	default:
		err = fmt.Errorf("unknown format %q", info.Format)
	}
	if err == nil && !p.Image.Bounds().Add(p.at).In(image.Rectangle{Max: info.stored}) {
		err = fmt.Errorf("the frame lies outside of the image")
	}
	return p, err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
