package thumbnail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"testing"
)

var (
	red   = color.RGBA{255, 0, 0, 255}
	green = color.RGBA{0, 255, 0, 255}
	blue  = color.RGBA{0, 0, 255, 255}
	white = color.RGBA{255, 255, 255, 255}
	glass = color.RGBA{}
)

// quadrants is the picture that the files in testdata show: red and green above,
// blue and white below.
func quadrants(w, h int) *image.Paletted {
	img := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{red, green, blue, white})
	for y := range h {
		for x := range w {
			img.SetColorIndex(x, y, uint8(x*2/w+2*(y*2/h)))
		}
	}
	return img
}

func encoded(t testing.TB, format string, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch format {
	case "png":
		err = png.Encode(&b, img)
	case "jpeg":
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 95})
	case "gif":
		err = gif.Encode(&b, img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withOrientation puts an EXIF segment after a JPEG's first marker.
func withOrientation(file []byte, orientation byte) []byte {
	exif := append([]byte("\xff\xe1\x00\x22Exif\x00\x00"), tiff(orientation)...)
	return append(append(bytes.Clone(file[:2]), exif...), file[2:]...)
}

// tiff is a TIFF file with one tag, the orientation.
func tiff(orientation byte) []byte {
	return []byte{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0}
}

func makeOne(t testing.TB, file []byte, size Size) (image.Image, *Info) {
	t.Helper()
	f := bytes.NewReader(file)
	info, err := Inspect(f)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Make(context.Background(), f, info, size, &out); err != nil {
		t.Fatal(err)
	}
	img, format, err := image.Decode(&out)
	if err != nil {
		t.Fatal(err)
	}
	if got := "image/" + format; got != info.OutputType() {
		t.Errorf("thumbnail is %s, announced as %s", got, info.OutputType())
	}
	return img, info
}

// expect compares the centres of the four quadrants.
func expect(t *testing.T, img image.Image, want ...color.RGBA) {
	t.Helper()
	b := img.Bounds()
	for q, w := range want {
		at := image.Pt(b.Dx()/4+q%2*b.Dx()/2, b.Dy()/4+q/2*b.Dy()/2)
		c := color.RGBAModel.Convert(img.At(at.X, at.Y)).(color.RGBA)
		for _, pair := range [][2]uint8{{c.R, w.R}, {c.G, w.G}, {c.B, w.B}, {c.A, w.A}} {
			if max(pair[0], pair[1])-min(pair[0], pair[1]) > 30 {
				t.Errorf("quadrant %d is %v, want %v", q, c, w)
				break
			}
		}
	}
}

func TestFormats(t *testing.T) {
	files := map[string][]byte{
		"generated.png": encoded(t, "png", quadrants(64, 48)),
		"generated.gif": encoded(t, "gif", quadrants(64, 48)),
		"generated.jpg": encoded(t, "jpeg", quadrants(64, 48)),
	}
	for _, name := range []string{"lossy.webp", "lossless.webp", "alpha.webp", "animated.webp", "oriented.webp",
		"animated.png", "progressive.jpg", "cmyk.jpg"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			img, info := makeOne(t, file, Size{Scale, 32, 32})
			switch name {
			case "oriented.webp":
				expect(t, img, blue, red, white, green)
				if info.Width != 48 || info.Height != 64 || img.Bounds().Size() != image.Pt(24, 32) {
					t.Errorf("image is %d × %d, thumbnail %v", info.Width, info.Height, img.Bounds())
				}
				return
			case "alpha.webp":
				expect(t, img, red, green, blue, glass)
			default:
				expect(t, img, red, green, blue, white)
			}
			if info.Width != 64 || info.Height != 48 || img.Bounds().Size() != image.Pt(32, 24) {
				t.Errorf("image is %d × %d, thumbnail %v", info.Width, info.Height, img.Bounds())
			}
			if animated := name == "animated.webp" || name == "animated.png" || name == "generated.gif"; info.Animated != animated {
				t.Errorf("Animated = %v", info.Animated)
			}
		})
	}
}

func TestOrientation(t *testing.T) {
	file := encoded(t, "jpeg", quadrants(128, 64))
	for orientation, want := range map[byte][]color.RGBA{
		1: {red, green, blue, white}, 2: {green, red, white, blue},
		3: {white, blue, green, red}, 4: {blue, white, red, green},
		5: {red, blue, green, white}, 6: {blue, red, white, green},
		7: {white, green, blue, red}, 8: {green, white, red, blue},
		9: {red, green, blue, white},
	} {
		t.Run(fmt.Sprint(orientation), func(t *testing.T) {
			oriented := withOrientation(file, orientation)
			img, info := makeOne(t, oriented, Size{Scale, 32, 32})
			expect(t, img, want...)
			turned := orientation >= 5 && orientation <= 8
			if turned != (info.Width == 64) || turned != (img.Bounds().Dx() == 16) {
				t.Errorf("image is %d × %d, thumbnail %v", info.Width, info.Height, img.Bounds())
			}
			img, _ = makeOne(t, oriented, Size{Crop, 30, 20})
			expect(t, img, want...)
			if img.Bounds().Size() != image.Pt(30, 20) {
				t.Errorf("cropped to %v", img.Bounds())
			}
		})
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		w, h int
		size Size
		want image.Point
	}{
		{1000, 500, Size{Scale, 320, 240}, image.Pt(320, 160)},
		{500, 1000, Size{Scale, 320, 240}, image.Pt(120, 240)},
		{1000, 500, Size{Crop, 96, 96}, image.Pt(96, 96)},
		{1000, 500, Size{Crop, 320, 32}, image.Pt(320, 32)},
		{100, 100, Size{Scale, 320, 240}, image.Pt(100, 100)}, // never larger
		{1000, 50, Size{Crop, 96, 96}, image.Pt(50, 50)},      // nor in one direction
		{4000, 1, Size{Scale, 32, 32}, image.Pt(32, 1)},
		{1, 4000, Size{Crop, 32, 32}, image.Pt(1, 1)},
		{641, 480, Size{Scale, 640, 480}, image.Pt(640, 479)},
	} {
		img, info := makeOne(t, encoded(t, "png", quadrants(c.w, c.h)), c.size)
		if got := img.Bounds().Size(); got != c.want {
			t.Errorf("%d × %d as %v is %v, want %v", c.w, c.h, c.size, got, c.want)
		}
		if info.Cost(c.size) <= 0 {
			t.Errorf("no cost")
		}
	}
	for _, c := range []struct {
		asked, want Size
	}{
		{Size{Crop, 32, 32}, Size{Crop, 32, 32}},
		{Size{Crop, 96, 96}, Size{Crop, 96, 96}},
		{Size{Scale, 320, 240}, Size{Scale, 320, 240}},
		{Size{Scale, 640, 480}, Size{Scale, 640, 480}},
		{Size{Scale, 800, 600}, Size{Scale, 800, 600}},
		{Size{Scale, 1, 1}, Size{Scale, 32, 32}},
		{Size{Crop, 1, 1}, Size{Crop, 32, 32}},
		{Size{Crop, 50, 25}, Size{Crop, 64, 32}},
		{Size{Crop, 1601, 1}, wholeImage},
		{Size{Scale, 1 << 30, 1}, wholeImage},
	} {
		if got := c.asked.RoundUp(); got != c.want {
			t.Errorf("%v is made as %v, want %v", c.asked, got, c.want)
		}
	}
}

// TestHostile: files that claim more than they are, and work that is cut short.
func TestHostile(t *testing.T) {
	picture := encoded(t, "png", quadrants(64, 48))
	bombPNG := bytes.Clone(picture)
	copy(bombPNG[16:], "\x00\x00\xea\x60\x00\x00\xea\x60") // 60000 × 60000
	copy(bombPNG[29:], crc(bombPNG[12:29]))
	bombGIF := encoded(t, "gif", quadrants(64, 48))
	copy(bombGIF[6:], "\xff\xff\xff\xff")
	bombJPEG := encoded(t, "jpeg", quadrants(64, 48))
	at := bytes.Index(bombJPEG, []byte("\xff\xc0"))
	copy(bombJPEG[at+5:], "\xff\xff\xff\xff")
	webp, err := os.ReadFile("testdata/lossy.webp")
	if err != nil {
		t.Fatal(err)
	}
	longWebP := bytes.Clone(webp)
	copy(longWebP[16:], "\x00\x00\x00\x70") // a chunk of 1.8 GB
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"PNG bomb":        {bombPNG, ErrTooLarge},
		"GIF bomb":        {bombGIF, ErrTooLarge},
		"JPEG bomb":       {bombJPEG, ErrTooLarge},
		"long WebP chunk": {longWebP, ErrUnsupported},
		"empty":           {nil, ErrUnsupported},
		"text":            {[]byte("<svg onload=alert(1)>"), ErrUnsupported},
		"PNG header":      {picture[:20], ErrUnsupported},
		"JPEG header":     {bombJPEG[:at+4], ErrUnsupported},
	} {
		if _, err := Inspect(bytes.NewReader(c.file)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	f := bytes.NewReader(picture[:len(picture)-30])
	info, err := Inspect(f)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Make(context.Background(), f, info, Size{Scale, 32, 32}, &out); !errors.Is(err, ErrUnsupported) {
		t.Errorf("truncated: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f = bytes.NewReader(picture)
	if err := Make(ctx, f, info, Size{Scale, 32, 32}, &out); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
