package thumbnail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/gif"
	"image/png"
	"io"

	"golang.org/x/image/webp"
)

// ErrStill says that no animation will be made of an image: it has one frame only, or
// its frames are too many, too large or broken.
var ErrStill = errors.New("the image will not be animated")

const (
	// MaxFrames bounds the frames of an animation.
	MaxFrames = 1000
	// maxPlayed bounds frames × pixels of the canvas that are put together.
	maxPlayed = 256 << 20
	// slowestFast is what browsers take for a hurry that nobody meant, in milliseconds;
	// they show such frames for usualDelay.
	slowestFast, usualDelay = 10, 100
)

// frame is one of an animation's pictures.
type frame struct {
	rect  image.Rectangle // on the canvas
	delay uint            // for which it is shown, in milliseconds
	// replace says that the frame replaces what it covers instead of lying on it.
	replace bool
	after   disposal
	// reader returns an image file that has this frame alone.
	reader func() io.Reader
}

// disposal is what becomes of the canvas below a frame when it has been shown.
type disposal int

const (
	disposeNone disposal = iota
	disposeBackground
	disposePrevious
)

// Animation is what the frames' headers say of a file.
type Animation struct {
	info   *Info
	frames []frame
	// plays is how often it is shown, 0 for ever.
	plays uint16
	// decoded is the memory that decoding the most demanding frame takes.
	decoded int64
}

// InspectAnimation reads the headers of all frames, without decoding any. The file must
// be the one that info was read from. It returns an error that wraps ErrStill if no
// animation will be made.
func InspectAnimation(ctx context.Context, f File, info *Info) (*Animation, error) {
	a := &Animation{info: info, plays: 1}
	var err error
	switch info.Format {
	case "gif":
		err = a.readGIF(bufio.NewReaderSize(&contextReader{ctx, whole(f)}, 64<<10), f)
	case "png":
		err = a.readPNG(ctx, f)
	case "webp":
		err = a.readWebP(ctx, f)
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("reading an animation: %w", cause)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStill, err)
	}
	if len(a.frames) < 2 {
		return nil, fmt.Errorf("%w: it has no second frame", ErrStill)
	}
	return a, nil
}

// add appends a frame that lies within the canvas and the bounds, and needs decoded
// bytes of memory.
func (a *Animation) add(f frame, decoded int64) error {
	canvas := image.Rectangle{Max: a.info.stored}
	if f.rect.Empty() || !f.rect.In(canvas) {
		return errors.New("a frame lies outside of the image")
	}
	if len(a.frames) == MaxFrames || int64(len(a.frames)+1)*pixels(canvas.Dx(), canvas.Dy()) > maxPlayed {
		return errors.New("it has too many frames")
	}
	if decoded > MaxDecoded {
		return errors.New("a frame is too large")
	}
	if f.delay <= slowestFast {
		f.delay = usualDelay
	}
	a.decoded = max(a.decoded, decoded)
	a.frames = append(a.frames, f)
	return nil
}

// play calls show with the canvas after each frame. What show is given changes
// afterwards.
func (a *Animation) play(ctx context.Context, show func(canvas *image.RGBA, delay uint) error) error {
	canvas := image.NewRGBA(image.Rectangle{Max: a.info.stored})
	var before *image.RGBA
	for i := range a.frames {
		f := &a.frames[i]
		img, err := a.decode(ctx, f)
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("decoding an animation: %w", cause)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStill, err)
		}
		if f.after == disposePrevious {
			if before == nil {
				before = image.NewRGBA(canvas.Rect)
			}
			copy(before.Pix, canvas.Pix)
		}
		op := draw.Over
		if f.replace {
			op = draw.Src
		}
		draw.Draw(canvas, f.rect, img, img.Bounds().Min, op)
		if err := show(canvas, f.delay); err != nil {
			return err
		}
		switch f.after {
		case disposeBackground:
			draw.Draw(canvas, f.rect, image.Transparent, image.Point{}, draw.Src)
		case disposePrevious:
			draw.Draw(canvas, f.rect, before, f.rect.Min, draw.Src)
		}
	}
	return nil
}

func (a *Animation) decode(ctx context.Context, f *frame) (image.Image, error) {
	r := bufio.NewReader(&contextReader{ctx, f.reader()})
	var img image.Image
	var err error
	switch a.info.Format {
	case "gif":
		img, err = gif.Decode(r)
	case "png":
		img, err = png.Decode(r)
	case "webp":
		img, err = webp.Decode(r)
	default:
		err = fmt.Errorf("unknown format %q", a.info.Format)
	}
	if err == nil && img.Bounds().Size() != f.rect.Size() {
		err = errors.New("a frame has another size than it claims")
	}
	return img, err
}
