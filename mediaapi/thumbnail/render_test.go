package thumbnail

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"
)

// TestShrink: every pixel is the mean of the area that it covers, whatever the sizes.
func TestShrink(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		src := image.NewRGBA(image.Rect(0, 0, 1+r.IntN(40), 1+r.IntN(40)))
		for i := range src.Pix {
			src.Pix[i] = byte(r.Uint32())
		}
		for i := 3; i < len(src.Pix); i += 4 {
			src.Pix[i] = 255
		}
		region := image.Rect(r.IntN(src.Rect.Dx()), r.IntN(src.Rect.Dy()), src.Rect.Dx(), src.Rect.Dy())
		p := plan{region, 1 + r.IntN(region.Dx()), 1 + r.IntN(region.Dy())}
		got, err := shrink(context.Background(), picture{Image: src}, p)
		if err != nil {
			t.Fatal(err)
		}
		for y := range p.height {
			for x := range p.width {
				if want, c := mean(src, p, x, y), got.RGBAAt(x, y); math.Abs(want-float64(c.R)) > 0.51 || c.A != 255 {
					t.Fatalf("%v of %v: at %d, %d is %v, want %.2f", p, src.Rect, x, y, c, want)
				}
			}
		}
	}
}

// mean is the mean red of what a pixel of the plan covers.
func mean(src *image.RGBA, p plan, x, y int) float64 {
	overlap := func(at, of, whole, i int) float64 { // of pixel i with the one at at
		from, to := float64(at*whole)/float64(of), float64((at+1)*whole)/float64(of)
		return max(0, min(to, float64(i+1))-max(from, float64(i)))
	}
	var sum, area float64
	for j := range p.region.Dy() {
		for i := range p.region.Dx() {
			a := overlap(x, p.width, p.region.Dx(), i) * overlap(y, p.height, p.region.Dy(), j)
			sum += a * float64(src.RGBAAt(p.region.Min.X+i, p.region.Min.Y+j).R)
			area += a
		}
	}
	return sum / area
}

// TestOfAnother: a thumbnail that is made of a larger one is as one made of the image.
func TestOfAnother(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 1001, 667))
	for y := range 667 {
		for x := range 1001 {
			img.SetRGBA(x, y, color.RGBA{uint8(x / 4), uint8(y / 3), uint8(x ^ y), 255})
		}
	}
	f := bytes.NewReader(encoded(t, "png", img))
	info, err := Inspect(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Decode(context.Background(), f, info)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range Specified {
		var direct, another bytes.Buffer
		if err := Make(context.Background(), f, info, size, &direct); err != nil {
			t.Fatal(err)
		}
		if err := all.Make(context.Background(), size, &another); err != nil {
			t.Fatal(err)
		}
		a, b := decodedImage(t, &direct), decodedImage(t, &another)
		if a.Bounds() != b.Bounds() {
			t.Fatalf("%v: %v and %v", size, a.Bounds(), b.Bounds())
		}
		var off, n float64
		for y := range a.Bounds().Dy() {
			for x := range a.Bounds().Dx() {
				r1, g1, _, _ := a.At(x, y).RGBA()
				r2, g2, _, _ := b.At(x, y).RGBA()
				off += math.Abs(float64(r1)-float64(r2))/257 + math.Abs(float64(g1)-float64(g2))/257
				n += 2
			}
		}
		if off/n > 1 {
			t.Errorf("%v: they differ by %.2f", size, off/n)
		}
	}
}

func decodedImage(t *testing.T, b *bytes.Buffer) image.Image {
	t.Helper()
	img, _, err := image.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
