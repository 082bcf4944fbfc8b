package thumbnail

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"os"
	"slices"
	"testing"

	"golang.org/x/image/webp"
)

// shown is what a viewer of an animation sees after each frame, and for how long.
type shown struct {
	plays  uint16
	delays []uint
	frames []*image.RGBA
}

func animate(t *testing.T, file []byte, size Size) (*Info, []byte, error) {
	t.Helper()
	f := bytes.NewReader(file)
	info, err := Inspect(f)
	if err != nil {
		t.Fatal(err)
	}
	a, err := InspectAnimation(context.Background(), f, info)
	if err != nil {
		return info, nil, err
	}
	if a.Cost(size) <= info.Cost(size) {
		t.Errorf("an animation costs %d, a picture %d", a.Cost(size), info.Cost(size))
	}
	var out bytes.Buffer
	err = a.Make(context.Background(), size, &out)
	return info, out.Bytes(), err
}

// watch plays an animation.
func watch(t *testing.T, file []byte) *shown {
	t.Helper()
	f := bytes.NewReader(file)
	info, err := Inspect(f)
	if err != nil {
		t.Fatal(err)
	}
	a, err := InspectAnimation(context.Background(), f, info)
	if err != nil {
		t.Fatal(err)
	}
	s := &shown{plays: a.plays}
	err = a.play(context.Background(), func(canvas *image.RGBA, delay uint) error {
		s.delays = append(s.delays, delay)
		frame := image.NewRGBA(canvas.Rect)
		copy(frame.Pix, canvas.Pix)
		s.frames = append(s.frames, frame)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// movingGIF shows quadrants, then a black one at the top left, then, that being gone, one
// at the bottom right, and last all again but a hole of glass.
func movingGIF(t *testing.T) []byte {
	t.Helper()
	part := func(r image.Rectangle, c color.Color) *image.Paletted {
		return image.NewPaletted(r, color.Palette{c, glass})
	}
	var b bytes.Buffer
	err := gif.EncodeAll(&b, &gif.GIF{
		Image: []*image.Paletted{quadrants(128, 96), part(image.Rect(0, 0, 64, 48), color.Black),
			part(image.Rect(64, 48, 128, 96), color.Black), part(image.Rect(0, 0, 1, 1), red)},
		Delay:     []int{50, 20, 0, 7},
		Disposal:  []byte{gif.DisposalNone, gif.DisposalPrevious, gif.DisposalBackground, gif.DisposalNone},
		LoopCount: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnimatedGIF(t *testing.T) {
	black := color.RGBA{A: 255}
	_, out, err := animate(t, movingGIF(t), Size{Scale, 64, 64})
	if err != nil {
		t.Fatal(err)
	}
	s := watch(t, out)
	if len(s.frames) != 4 || s.plays != 3 || s.frames[0].Rect.Size() != image.Pt(64, 48) {
		t.Fatalf("%d frames of %v, %d times", len(s.frames), s.frames[0].Rect, s.plays)
	}
	for i, want := range []uint{500, 200, 100, 70} {
		if s.delays[i] != want {
			t.Errorf("frame %d is shown for %d ms", i, s.delays[i])
		}
	}
	expect(t, s.frames[0], red, green, blue, white)
	expect(t, s.frames[1], black, green, blue, white)
	expect(t, s.frames[2], red, green, blue, black)
	expect(t, s.frames[3], red, green, blue, glass)
}

// TestAnimatedFormats: what other programs have written, and what is written here.
func TestAnimatedFormats(t *testing.T) {
	for _, name := range []string{"animated.webp", "animated.png"} {
		file, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		before := watch(t, file)
		info, out, err := animate(t, file, Size{Crop, 32, 24})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		after := watch(t, out)
		t.Logf("%s: %d × %d, %v ms, %d times; %v ms", name, info.Width, info.Height, before.delays, before.plays, after.delays)
		if len(after.frames) != len(before.frames) || after.plays != before.plays {
			t.Errorf("%s: %d frames became %d", name, len(before.frames), len(after.frames))
		}
		expect(t, after.frames[0], red, green, blue, white)
		if img, err := webp.Decode(bytes.NewReader(out)); err == nil {
			t.Errorf("%s: no animation but one picture of %v", name, img.Bounds())
		}
	}
}

// TestAnimatedPNG: frames that are parts, lie on one another or replace, in many chunks.
func TestAnimatedPNG(t *testing.T) {
	half := image.NewNRGBA(image.Rect(0, 0, 64, 48))
	draw.Draw(half, half.Rect, &image.Uniform{color.NRGBA{255, 255, 255, 0}}, image.Point{}, draw.Src)
	file := apng(t, []image.Image{quadrants(128, 96), half, half}, []byte{
		0: 0, 1: 0, // none, source
		2: 2, 3: 0, // previous, source: a hole, then gone
		4: 0, 5: 1, // none, over: nothing to be seen
	})
	_, out, err := animate(t, file, Size{Scale, 64, 48})
	if err != nil {
		t.Fatal(err)
	}
	s := watch(t, out)
	if len(s.frames) != 3 || s.plays != 0 {
		t.Fatalf("%d frames, %d times", len(s.frames), s.plays)
	}
	expect(t, s.frames[0], red, green, blue, white)
	expect(t, s.frames[1], glass, green, blue, white)
	expect(t, s.frames[2], red, green, blue, white)
}

// apng puts pictures into an animated PNG; how is their disposal and blending.
func apng(t *testing.T, frames []image.Image, how []byte) []byte {
	t.Helper()
	var file []byte
	for i, img := range frames {
		one := encoded(t, "png", toNRGBA(img))
		at, seq := len(pngSignature), uint32(2*i)
		for at < len(one) {
			length := int(binary.BigEndian.Uint32(one[at:]))
			kind, body := string(one[at+4:at+8]), one[at+8:at+8+length]
			at += 12 + length
			switch {
			case kind == "IHDR":
				if i == 0 {
					file = appendChunk([]byte(pngSignature), kind, body)
					file = appendChunk(file, "acTL", []byte{0, 0, 0, byte(len(frames)), 0, 0, 0, 0})
				}
				c := binary.BigEndian.AppendUint32(nil, seq)
				c = append(append(c, body[:8]...), 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 10, how[2*i], how[2*i+1])
				file = appendChunk(file, "fcTL", c)
			case kind == "IDAT" && i == 0:
				file = appendChunk(appendChunk(file, kind, body[:5]), kind, body[5:])
			case kind == "IDAT":
				file = appendChunk(file, "fdAT", append(binary.BigEndian.AppendUint32(nil, seq+1), body...))
			}
		}
	}
	return appendChunk(file, "IEND", nil)
}

func toNRGBA(img image.Image) image.Image {
	n := image.NewNRGBA(img.Bounds())
	draw.Draw(n, n.Rect, img, img.Bounds().Min, draw.Src)
	n.SetNRGBA(0, 0, color.NRGBA{1, 2, 3, 254}) // keeps the encoder from dropping the alpha channel
	return n
}

// TestStill: what isn't animated, and animations that are refused before or while they
// are played.
func TestStill(t *testing.T) {
	gifOf := func(n, side int) []byte {
		var g gif.GIF
		g.Config.Width, g.Config.Height = side, side
		for range n {
			g.Image = append(g.Image, image.NewPaletted(image.Rect(0, 0, 1, 1), color.Palette{red}))
			g.Delay = append(g.Delay, 5)
		}
		var b bytes.Buffer
		if err := gif.EncodeAll(&b, &g); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	moving := movingGIF(t)
	at := bytes.IndexByte(moving[13:], gifImage) + 13
	outside := bytes.Clone(moving)
	second := bytes.LastIndex(outside, []byte{gifImage, 0, 0, 0, 0, 1, 0, 1, 0})
	outside[second+2] = 0xff
	for name, file := range map[string][]byte{
		"one frame":     gifOf(1, 50),
		"a JPEG":        encoded(t, "jpeg", quadrants(64, 48)),
		"a PNG":         encoded(t, "png", quadrants(64, 48)),
		"many frames":   gifOf(MaxFrames+1, 8),
		"many pixels":   gifOf(12, 5000),
		"cut":           moving[:len(moving)-20],
		"outside":       outside,
		"no code sizes": append(bytes.Clone(moving[:at+10]), make([]byte, 40)...),
	} {
		if _, _, err := animate(t, file, Size{Scale, 32, 32}); !errors.Is(err, ErrStill) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLongAnimation: of what would be too much frames are left out, but no time.
func TestLongAnimation(t *testing.T) {
	f := bytes.NewReader(movingGIF(t))
	info, err := Inspect(f)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a, err := InspectAnimation(ctx, f, info)
	if err != nil {
		t.Fatal(err)
	}
	film, err := a.film(ctx, info.plan(Size{Scale, 32, 32}), 3)
	if err != nil || !slices.Equal(film.Durations, []uint{500 + 200 + 100, 70}) {
		t.Errorf("left are frames of %v ms: %v", film.Durations, err)
	}
	cancel()
	if err := a.Make(ctx, Size{Scale, 32, 32}, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	large := &Animation{info: &Info{stored: image.Pt(1000, 500), orientation: 1}, frames: make([]frame, 400)}
	for size, want := range map[Size]int{{Scale, 100, 100}: 1, {Scale, 800, 600}: 8, {Scale, 640, 480}: 5} {
		if p := large.info.plan(size); large.every(p) != want || large.Cost(size) > 256<<20 {
			t.Errorf("%v has every %dth frame and costs %d", size, large.every(p), large.Cost(size))
		}
	}
}

// FuzzAnimate makes animations of arbitrary files: never a panic that escapes, never a
// result larger than was asked for.
func FuzzAnimate(f *testing.F) {
	for _, name := range []string{"animated.webp", "animated.png"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	var b bytes.Buffer
	img := quadrants(8, 6)
	if err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{img, img}, Delay: []int{1, 2}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		r := bytes.NewReader(file)
		info, err := Inspect(r)
		if err != nil || info.Width*info.Height > 1<<16 {
			return
		}
		ctx := context.Background()
		a, err := InspectAnimation(ctx, r, info)
		if err != nil {
			return
		}
		size := Size{Scale, 32, 32}
		var out bytes.Buffer
		if err := a.Make(ctx, size, &out); err != nil {
			return
		}
		made, err := Inspect(bytes.NewReader(out.Bytes()))
		if err != nil || !size.Holds(made) {
			t.Fatalf("%v: %v", made, err)
		}
	})
}
