package thumbnail

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

func crc(b []byte) string {
	return string(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)))
}

// FuzzMake reads headers and makes thumbnails of arbitrary files: never a panic
// that escapes, and never a result larger than was asked for.
func FuzzMake(f *testing.F) {
	names, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(encoded(f, "png", quadrants(8, 6)))
	f.Add(encoded(f, "gif", quadrants(8, 6)))
	f.Add(withOrientation(encoded(f, "jpeg", quadrants(8, 6)), 6))
	f.Fuzz(func(t *testing.T, file []byte) {
		r := bytes.NewReader(file)
		info, err := Inspect(r)
		if err != nil || info.Width*info.Height > 1<<20 {
			return
		}
		for _, size := range []Size{{Scale, 32, 32}, {Crop, 16, 8}} {
			var out bytes.Buffer
			if Make(context.Background(), r, info, size, &out) != nil || info.OutputType() != "image/png" {
				continue
			}
			c, err := png.DecodeConfig(&out)
			if err != nil || c.Width > size.Width || c.Height > size.Height {
				t.Fatalf("%v is %d × %d: %v", size, c.Width, c.Height, err)
			}
		}
	})
}

func FuzzEXIF(f *testing.F) {
	for o := range byte(10) {
		f.Add(tiff(o))
	}
	f.Add([]byte("II*\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o := exifOrientation(b); o < 1 || o > 8 {
			t.Fatal(o)
		}
	})
}
