package thumbnail

import (
	"context"
	"image"
	"image/draw"
)

// picture is a decoded image and where its top left pixel lies on the canvas:
// the first frame of an animation may cover a part of it only.
type picture struct {
	image.Image
	at image.Point
}

// render cuts, scales and turns a decoded image.
func render(ctx context.Context, src picture, p plan, orientation int) (*image.RGBA, error) {
	small, err := shrink(ctx, src, p)
	if err != nil {
		return nil, err
	}
	return orient(small, orientation), nil
}

// shrink converts a region to RGBA in the size of the plan: each pixel is the mean of the area that it
// covers, of which the edges are parts of pixels. It goes through the image once, row by row, so that a photo's worth of
// RGBA never exists.
//
// Lengths are counted in such parts that a pixel of the region has p.width×p.height of them,
// and one of the result as many as the region has pixels in that direction.
func shrink(ctx context.Context, src picture, p plan) (*image.RGBA, error) {
	dst := image.NewRGBA(image.Rect(0, 0, p.width, p.height))
	row := image.NewRGBA(image.Rect(0, 0, p.region.Dx(), 1))
	across, sums := make([]uint64, 4*p.width), make([]uint64, 4*p.width)
	from := p.region.Min.Sub(src.at)
	height := uint64(p.region.Dy())
	mean := 1 / (float64(p.region.Dx()) * float64(height))
	left := height // of the row of the result that is being added up
	for y, target := 0, 0; y < p.region.Dy(); y++ {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		clear(row.Pix)
		draw.Draw(row, row.Rect, src.Image, from.Add(image.Pt(0, y)), draw.Src)
		addAcross(across, row.Pix, p.width)
		part := min(uint64(p.height), left)
		addRow(sums, across, part)
		if left -= part; left > 0 {
			continue
		}
		for i, sum := range sums {
			dst.Pix[target*dst.Stride+i] = byte(float64(sum)*mean + 0.5)
		}
		clear(sums)
		target++
		rest := uint64(p.height) - part
		addRow(sums, across, rest)
		left = height - rest
	}
	return dst, nil
}

// addAcross shrinks a row to so many pixels, of which each is a sum.
func addAcross(sums []uint64, pix []byte, width int) {
	clear(sums)
	whole := uint64(width) // parts of a pixel of the row
	all := uint64(len(pix) / 4)
	left := all
	for at := 0; len(pix) >= 4; pix = pix[4:] {
		part := min(whole, left)
		addPixel(sums[at:at+4:at+4], pix, part)
		if left -= part; left > 0 {
			continue
		}
		at += 4
		left = all - (whole - part)
		if part < whole {
			addPixel(sums[at:at+4:at+4], pix, whole-part)
		}
	}
}

func addPixel(sums []uint64, pix []byte, part uint64) {
	_, _ = sums[3], pix[3]
	sums[0] += uint64(pix[0]) * part
	sums[1] += uint64(pix[1]) * part
	sums[2] += uint64(pix[2]) * part
	sums[3] += uint64(pix[3]) * part
}

func addRow(sums, across []uint64, part uint64) {
	if part == 0 {
		return
	}
	for i, v := range across {
		sums[i] += v * part
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
