package mediaapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"sync"
	"testing"
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
	} {
		t.Run(c.format+c.query, func(t *testing.T) {
			content := picture(t, c.format, 600, 300)
			for range 2 { // what was uploaded twice has thumbnails both times
				path := w.upload(content, "image/"+c.format, "?filename=secret")
				a := w.expect(w.get(thumbnails+path+c.query), 200, "")
				config, format, err := image.DecodeConfig(bytes.NewReader(a.body))
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
	if w.files("files") != 3 || w.files("tmp") != 0 {
		t.Errorf("%d files, %d unfinished", w.files("files"), w.files("tmp"))
	}
}

func TestNoThumbnail(t *testing.T) {
	w := newWorld(t, 1<<20)
	good := picture(t, "png", 200, 200)
	path := w.upload(good, "image/png", "")
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
	if n := w.files("thumbnails"); n != 0 {
		t.Errorf("%d thumbnails", n)
	}
}

// TestManyThumbnails: one is made once however many ask, and a file keeps no
// more than maxVariants of them.
func TestManyThumbnails(t *testing.T) {
	w := newWorld(t, 1<<20)
	path := w.upload(picture(t, "png", 600, 600), "image/png", "")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if a := w.get(thumbnails + path + "?width=96&height=96&method=crop"); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if n := w.files("thumbnails"); n != 1 {
		t.Errorf("%d thumbnails of one size", n)
	}
	for i := range maxVariants + 8 {
		w.expect(w.get(fmt.Sprintf("%s%s?width=64&height=%d&method=crop", thumbnails, path, i+1)), 200, "")
	}
	if n := w.files("thumbnails"); n != maxVariants {
		t.Errorf("%d thumbnails are kept", n)
	}
}
