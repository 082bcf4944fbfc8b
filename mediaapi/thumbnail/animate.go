package thumbnail

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"io"

	"github.com/HugoSmits86/nativewebp"
)

// AnimatedType is the type of animated thumbnails.
const AnimatedType = "image/webp"

const (
	// maxAnimated bounds frames × pixels of an animated thumbnail. Of what would have
	// more, frames are left out.
	maxAnimated = 16 << 20
	// encoderMemory is what the encoder takes for each pixel of the frame at hand.
	encoderMemory = 96
)

// every says which frames are kept at a size: each, each second, and so on.
func (a *Animation) every(p plan) int {
	fit := max(1, int(maxAnimated/pixels(p.width, p.height)))
	return divUp(len(a.frames), fit)
}

// Cost estimates the memory in bytes that making a thumbnail of size s takes.
func (a *Animation) Cost(s Size) int64 {
	p := a.info.plan(s)
	canvases := 2 * 4 * pixels(a.info.stored.X, a.info.stored.Y)
	scaled := 4 * pixels(p.width, p.height)
	kept := int64(divUp(len(a.frames), a.every(p)))
	// Each kept frame exists as pixels and, in the worst case, twice in what is written.
	return a.decoded + canvases + a.info.renderCost(p) + 3*kept*scaled + encoderMemory*pixels(p.width, p.height)
}

// Make writes the animated thumbnail of the given size to w, as AnimatedType. It returns
// an error that wraps ErrStill if a frame turns out to be broken, and ctx's error if ctx
// ends first.
func (a *Animation) Make(ctx context.Context, s Size, w io.Writer) (err error) {
	defer recovered(&err, ErrStill)
	p := a.info.plan(s)
	film, err := a.film(ctx, p, a.every(p))
	if err != nil {
		return err
	}
	film.LoopCount = a.plays
	film.shrink()
	if err := nativewebp.EncodeAll(w, &film.Animation, nil); err != nil {
		return fmt.Errorf("writing an animated thumbnail: %w", err)
	}
	return nil
}

// film is a scaled animation. Its frames are whole pictures until shrink.
type film struct {
	nativewebp.Animation
	pictures []*image.RGBA
}

// film plays the animation and scales each frame, or each second, and so on, as every says. One that looks like the one
// before, or isn't kept, prolongs that.
func (a *Animation) film(ctx context.Context, p plan, every int) (*film, error) {
	var kept film
	n := 0
	err := a.play(ctx, func(canvas *image.RGBA, delay uint) error {
		n++
		last := len(kept.pictures) - 1
		if (n-1)%every != 0 {
			kept.Durations[last] += delay
			return nil
		}
		img, err := render(ctx, picture{Image: canvas}, p, a.info.orientation)
		if err != nil {
			return fmt.Errorf("scaling an animation: %w", err)
		}
		if last >= 0 && bytes.Equal(kept.pictures[last].Pix, img.Pix) {
			kept.Durations[last] += delay
			return nil
		}
		kept.pictures = append(kept.pictures, img)
		kept.Durations = append(kept.Durations, delay)
		return nil
	})
	return &kept, err
}

// shrink leaves of each frame what differs from the one before. The encoder can only have
// frames lie on one another, so where something is transparent all stay whole, and the
// canvas is cleared between them.
func (f *film) shrink() {
	f.Disposals = make([]uint, len(f.pictures))
	opaque := true
	for _, img := range f.pictures {
		opaque = opaque && img.Opaque()
	}
	for i, img := range f.pictures {
		if opaque && i > 0 {
			f.Images = append(f.Images, img.SubImage(changed(f.pictures[i-1], img)))
			continue
		}
		f.Images = append(f.Images, img)
		if !opaque {
			f.Disposals[i] = 1
		}
	}
}

// changed is the smallest rectangle with what differs between two pictures of one size.
// It begins at even coordinates, which is all that WebP can say.
func changed(a, b *image.RGBA) image.Rectangle {
	r := image.Rectangle{Min: b.Rect.Max}
	width := b.Rect.Dx()
	for y := range b.Rect.Dy() {
		rowA, rowB := a.Pix[y*a.Stride:][:4*width], b.Pix[y*b.Stride:][:4*width]
		if bytes.Equal(rowA, rowB) {
			continue
		}
		r.Min.Y, r.Max.Y = min(r.Min.Y, y), y+1
		first, last := 0, width-1
		for bytes.Equal(rowA[4*first:4*first+4], rowB[4*first:4*first+4]) {
			first++
		}
		for bytes.Equal(rowA[4*last:4*last+4], rowB[4*last:4*last+4]) {
			last--
		}
		r.Min.X, r.Max.X = min(r.Min.X, first), max(r.Max.X, last+1)
	}
	r.Min.X, r.Min.Y = r.Min.X&^1, r.Min.Y&^1
	return r
}
