package thumbnail

import (
	"context"
	"image"

	"golang.org/x/image/draw"
)

// picture is a decoded image and where its top left pixel lies on the canvas:
// the first frame of an animation may cover a part of it only.
type picture struct {
	image.Image
	at image.Point
}

// render cuts, scales and turns a decoded image.
func render(ctx context.Context, src picture, p plan, orientation int) (*image.RGBA, error) {
	small, err := reduce(ctx, src, p.region, p.reduce)
	if err != nil {
		return nil, err
	}
	if small.Rect.Dx() != p.width || small.Rect.Dy() != p.height {
		scaled := image.NewRGBA(image.Rect(0, 0, p.width, p.height))
		draw.CatmullRom.Scale(scaled, scaled.Rect, small, small.Rect, draw.Src, nil)
		small = scaled
	}
	return orient(small, orientation), nil
}

// reduce converts a region to RGBA, averaging blocks of k×k pixels. It goes
// through the image row by row, so that a photo's worth of RGBA never exists, and
// leaves a general filter (which needs 32 bytes for each source row and target
// column) a picture of about the final size.
func reduce(ctx context.Context, src picture, region image.Rectangle, k int) (*image.RGBA, error) {
	dst := image.NewRGBA(image.Rect(0, 0, divUp(region.Dx(), k), divUp(region.Dy(), k)))
	row := image.NewRGBA(image.Rect(0, 0, region.Dx(), 1))
	sums := make([]uint32, 4*dst.Rect.Dx())
	from := region.Min.Sub(src.at)
	rows := 0
	for y := range region.Dy() {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		clear(row.Pix)
		draw.Draw(row, row.Rect, src.Image, from.Add(image.Pt(0, y)), draw.Src)
		addBlocks(sums, row.Pix, k)
		if rows++; rows == k || y == region.Dy()-1 {
			average(dst.Pix[y/k*dst.Stride:][:len(sums)], sums, region.Dx(), k, rows)
			clear(sums)
			rows = 0
		}
	}
	return dst, nil
}

// addBlocks adds each k pixels of a row to one pixel of sums.
func addBlocks(sums []uint32, pix []byte, k int) {
	for at := 0; len(pix) > 0; at += 4 {
		block := pix[:min(4*k, len(pix))]
		pix = pix[len(block):]
		var r, g, b, a uint32
		for ; len(block) >= 4; block = block[4:] {
			r += uint32(block[0])
			g += uint32(block[1])
			b += uint32(block[2])
			a += uint32(block[3])
		}
		s := sums[at : at+4 : at+4]
		s[0] += r
		s[1] += g
		s[2] += b
		s[3] += a
	}
}

// average divides sums by the number of pixels behind each: k×rows, but fewer in
// the last column when k doesn't divide width.
func average(dst []byte, sums []uint32, width, k, rows int) {
	for i := 0; i < len(sums); i += 4 {
		n := uint32(min(k, width-i/4*k) * rows)
		for c := i; c < i+4; c++ {
			dst[c] = byte((sums[c] + n/2) / n)
		}
	}
}

// orient turns and mirrors an image as the EXIF orientation (1 to 8) says.
func orient(src *image.RGBA, orientation int) *image.RGBA {
	if orientation <= 1 || orientation > 8 {
		return src
	}
	w, h := src.Rect.Dx(), src.Rect.Dy()
	dw, dh := w, h
	if orientation >= 5 {
		dw, dh = h, w
	}
	dst := image.NewRGBA(image.Rect(0, 0, dw, dh))
	for y := range dh {
		for x := range dw {
			sx, sy := source(orientation, x, y, w, h)
			copy(dst.Pix[y*dst.Stride+4*x:][:4], src.Pix[sy*src.Stride+4*sx:][:4])
		}
	}
	return dst
}

// source is the stored pixel that is displayed at x, y; w and h are the stored
// image's sides.
func source(orientation, x, y, w, h int) (int, int) {
	switch orientation {
	case 2: // mirrored
		return w - 1 - x, y
	case 3: // upside down
		return w - 1 - x, h - 1 - y
	case 4: // mirrored and upside down
		return x, h - 1 - y
	case 5: // mirrored along the diagonal
		return y, x
	case 6: // to be turned right
		return y, h - 1 - x
	case 7: // mirrored along the other diagonal
		return w - 1 - y, h - 1 - x
	case 8: // to be turned left
		return w - 1 - y, x
	}
	return x, y
}
