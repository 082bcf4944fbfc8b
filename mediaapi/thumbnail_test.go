package mediaapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestThumbnails(t *testing.T) {
	w := newWorld(t, 1<<20)
	for _, c := range []struct {
		format        string
		query         string
		width, height int
		contentType   string
	}{
		{"png", "?width=96&height=96&method=crop", 96, 96, "image/png"},
		{"png", "?width=320&height=240&method=scale", 320, 160, "image/png"},
		{"png", "?width=320&height=240", 320, 160, "image/png"},
		{"png", "?width=30&height=30&method=crop&animated=true", 32, 32, "image/png"},
		{"jpeg", "?width=32&height=32&method=crop", 32, 32, "image/jpeg"},
		{"gif", "?width=32&height=32&method=crop", 32, 32, "image/png"},
		{"png", "?width=800&height=600", 600, 300, "image/png"}, // the original, never larger
		{"jpeg", "?width=99999999999&height=1", 600, 300, "image/jpeg"},
		{"gif", "?width=800&height=600&animated=true", 600, 300, "image/gif"},
		{"gif", "?width=800&height=600", 600, 300, "image/png"}, // but not animated
		{"gif", "?width=320&height=240&animated=true", 320, 160, "image/webp"},
		{"jpeg", "?width=320&height=240&animated=true", 320, 160, "image/jpeg"},
	} {
		t.Run(c.format+c.query, func(t *testing.T) {
			content := picture(t, c.format, 600, 300)
			for range 2 { // what was uploaded twice has thumbnails both times
				path := w.upload(content, "image/"+c.format, "?filename=secret")
				a := w.expect(w.get(thumbnails+path+c.query), 200, "")
				config, format, err := decodeConfig(a.body)
				if err != nil {
					t.Fatal(err)
				}
				if config.Width != c.width || config.Height != c.height || a.header.Get("Content-Type") != c.contentType || "image/"+format != c.contentType {
					t.Errorf("%d × %d, %v", config.Width, config.Height, a.header)
				}
				if got := a.header.Get("Content-Disposition"); got != "inline; filename=thumbnail."+format {
					t.Errorf("Content-Disposition is %q", got)
				}
				if again := w.get(thumbnails+path+c.query, "If-None-Match", a.header.Get("ETag")); again.status != 304 {
					t.Errorf("again: %d", again.status)
				}
			}
		})
	}
	w.settle()
	if w.files("files") != 3 || w.files("tmp") != 0 {
		t.Errorf("%d files, %d unfinished", w.files("files"), w.files("tmp"))
	}
}

// decodeConfig is image.DecodeConfig, for animated WebP as well.
func decodeConfig(file []byte) (config image.Config, format string, err error) {
	if len(file) > 30 && string(file[8:16]) == "WEBPVP8X" && file[20]&2 != 0 {
		side := func(at int) int { return int(file[at]) + int(file[at+1])<<8 + 1 }
		return image.Config{Width: side(24), Height: side(27)}, "webp", nil
	}
	return image.DecodeConfig(bytes.NewReader(file))
}

// settle waits until the thumbnails of all uploads have been made.
func (w *world) settle() {
	w.t.Helper()
	e := w.api.thumbnails.early
	for range 6000 {
		e.mu.Lock()
		settled := len(e.working) == 0 && len(e.queue) == 0
		e.mu.Unlock()
		if settled {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatal("thumbnails of uploads are not made")
}

// TestEarlyThumbnails: the specified sizes are there before anybody asks, without what
// the image is too small for, and are what is served.
func TestEarlyThumbnails(t *testing.T) {
	w := newWorld(t, 1<<20)
	path := w.upload(picture(t, "jpeg", 700, 700), "application/octet-stream", "")
	w.upload([]byte("no picture"), "image/png", "")
	w.settle()
	hash := fileHash(w.hash("test.local", strings.TrimPrefix(path, "test.local/")))
	var made []string
	entries, err := os.ReadDir(w.api.store.thumbnailDir(hash))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		made = append(made, e.Name())
	}
	want := []string{"crop-32x32.jpeg", "crop-96x96.jpeg", "scale-320x240.jpeg", "scale-640x480.jpeg", "scale-800x600.jpeg"}
	if !slices.Equal(made, want) || w.files("thumbnails") != len(want) {
		t.Fatalf("made are %v, of all uploads %d", made, w.files("thumbnails"))
	}
	file := filepath.Join(w.api.store.thumbnailDir(hash), "crop-32x32.jpeg")
	if err := os.WriteFile(file, []byte("from the disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"?width=32&height=32&method=crop", "?width=31&height=31&method=crop"} {
		if a := w.expect(w.get(thumbnails+path+query), 200, ""); string(a.body) != "from the disk" {
			t.Errorf("%s: served are %d bytes", query, len(a.body))
		}
	}
	// An animation has still ones of them all, in its own size too, and one that moves when asked.
	moving := w.upload(picture(t, "gif", 100, 100), "image/gif", "")
	w.settle()
	if n := w.files("thumbnails"); n != 2*len(want) {
		t.Errorf("%d thumbnails", n)
	}
	w.expect(w.get(thumbnails+moving+"?width=96&height=96&method=crop&animated=true"), 200, "")
	if n := w.files("thumbnails"); n != 2*len(want)+1 {
		t.Errorf("%d thumbnails", n)
	}
}

// TestNotAnimated: what can't be animated is shown still, the second time from memory.
func TestNotAnimated(t *testing.T) {
	w := newWorld(t, 1<<20)
	whole := picture(t, "gif", 200, 200)
	for _, content := range [][]byte{
		picture(t, "png", 200, 200),
		whole[:len(whole)-40], // within the second frame
	} {
		path := w.upload(content, "image/gif", "")
		for range 2 {
			a := w.expect(w.get(thumbnails+path+"?width=64&height=64&animated=true"), 200, "")
			if got := a.header.Get("Content-Type"); got != "image/png" {
				t.Errorf("served as %s", got)
			}
		}
	}
}

// TestMetadataIsStripped: a thumbnail shows what is seen, and tells neither place nor author, even of a picture that is small enough as it is.
func TestMetadataIsStripped(t *testing.T) {
	w := newWorld(t, 1<<20)
	jpeg, png := picture(t, "jpeg", 60, 40), picture(t, "png", 60, 40)
	segment := func(marker, body string) []byte {
		s := "\xff" + marker + string(binary.BigEndian.AppendUint16(nil, uint16(len(body)+2))) + body
		return append(append(bytes.Clone(jpeg[:2]), s...), jpeg[2:]...)
	}
	chunk := func(before []byte, kind, body string) []byte {
		c := string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + kind + body
		c += string(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(c[4:]))))
		at := bytes.Index(png, before) - 4
		return append(append(bytes.Clone(png[:at]), c...), png[at:]...)
	}
	for name, content := range map[string][]byte{
		"EXIF": segment("\xe1", "Exif\x00\x00MM\x00*secret"), "XMP": segment("\xe1", "http://ns.adobe.com/xap/1.0/\x00secret"),
		"IPTC": segment("\xed", "Photoshop 3.0\x00secret"), "comment": segment("\xfe", "secret"),
		"text": chunk([]byte("IDAT"), "tEXt", "Author\x00secret"), "text behind": chunk([]byte("IEND"), "iTXt", "XML:com.adobe.xmp\x00\x00\x00\x00\x00secret"),
		"eXIf": chunk([]byte("IEND"), "eXIf", "MM\x00*secret"),
	} {
		path := w.upload(content, "", "?filename=secret.jpg")
		for _, query := range []string{"?width=32&height=32&method=crop", "?width=320&height=240", "?width=9000&height=9000", "?width=320&height=240&animated=true"} {
			a := w.expect(w.get(thumbnails+path+query), 200, "")
			if _, _, err := decodeConfig(a.body); err != nil || bytes.Contains(a.body, []byte("secret")) {
				t.Errorf("%s, %s: %v in %q", name, query, err, a.body)
			}
		}
	}
	if a := w.get(thumbnails + w.upload(jpeg, "", "") + "?width=320&height=240"); !bytes.Equal(a.body, jpeg) {
		t.Error("a picture that tells nothing else is made anew")
	}
}

func TestNoThumbnail(t *testing.T) {
	w := newWorld(t, 1<<20)
	good := picture(t, "png", 200, 200)
	path := w.upload(good, "image/png", "")
	w.settle()
	before := w.files("thumbnails")
	for query, code := range map[string]string{
		"": "M_MISSING_PARAM", "?width=9": "M_MISSING_PARAM", "?width=x&height=9": "M_INVALID_PARAM",
		"?width=-1&height=9": "M_INVALID_PARAM", "?width=0&height=9": "M_INVALID_PARAM", "?width=1.5&height=9": "M_INVALID_PARAM",
		"?width=9&height=9&method=fit": "M_INVALID_PARAM", "?width=9&height=9&animated=maybe": "M_INVALID_PARAM",
	} {
		w.expect(w.get(thumbnails+path+query), 400, code)
	}
	bomb := bytes.Clone(good)
	copy(bomb[16:], "\x00\x00\xea\x60\x00\x00\xea\x60") // 60000 × 60000
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	for range 2 { // the second answer is remembered
		w.expect(w.get(thumbnails+w.upload(bomb, "image/png", "")+"?width=32&height=32"), 413, "M_TOO_LARGE")
		w.expect(w.get(thumbnails+w.upload(good[:len(good)-20], "image/png", "")+"?width=32&height=32"), 400, "M_UNKNOWN")
		w.expect(w.get(thumbnails+w.upload([]byte("<svg/>"), "image/svg+xml", "")+"?width=32&height=32"), 400, "M_UNKNOWN")
	}
	w.settle()
	if n := w.files("thumbnails"); n != before {
		t.Errorf("%d thumbnails of %d", n-before, n)
	}
}

// TestManyThumbnails: one is made once however many ask, and a file keeps no
// more than maxVariants of them.
func TestManyThumbnails(t *testing.T) {
	w := newWorld(t, 1<<20)
	path := w.upload(picture(t, "png", 600, 600), "image/png", "")
	w.settle()
	before := w.files("thumbnails")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if a := w.get(thumbnails + path + "?width=128&height=128&method=crop"); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if n := w.files("thumbnails"); n != before+1 {
		t.Errorf("%d thumbnails of one size", n-before)
	}
	for i := range maxVariants + 8 {
		w.expect(w.get(fmt.Sprintf("%s%s?width=64&height=%d&method=crop", thumbnails, path, i+1)), 200, "")
	}
	if n := w.files("thumbnails"); n != maxVariants {
		t.Errorf("%d thumbnails are kept", n)
	}
}
