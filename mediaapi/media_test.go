package mediaapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	downloads  = "/_matrix/client/v1/media/download/"
	thumbnails = "/_matrix/client/v1/media/thumbnail/"
)

func TestUploadAndDownload(t *testing.T) {
	w := newWorld(t, 1<<20)
	content := bytes.Repeat([]byte("0123456789"), 5000)
	path := w.upload(content, "text/plain; charset=utf-8", "?filename=plan%20b.txt")

	a := w.expect(w.get(downloads+path), 200, "")
	if !bytes.Equal(a.body, content) {
		t.Fatal("other content came back")
	}
	for name, want := range map[string]string{
		"Content-Type":                 "text/plain; charset=utf-8",
		"Content-Disposition":          `inline; filename="plan b.txt"`,
		"Content-Security-Policy":      contentPolicy,
		"X-Content-Type-Options":       "nosniff",
		"Cross-Origin-Resource-Policy": "cross-origin",
		"Cache-Control":                "private, max-age=86400, immutable",
		"Accept-Ranges":                "bytes",
		"Content-Length":               "50000",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	etag := a.header.Get("ETag")
	if a = w.get(downloads+path, "If-None-Match", etag); a.status != 304 || etag == "" {
		t.Errorf("unchanged content with ETag %q: %d", etag, a.status)
	}
	a = w.get(downloads+path, "Range", "bytes=10003-10006")
	if a.status != 206 || string(a.body) != "3456" || a.header.Get("Content-Range") != "bytes 10003-10006/50000" {
		t.Errorf("range: %d %q %v", a.status, a.body, a.header)
	}
	a = w.expect(w.get(downloads+path, "Range", "bytes=50000-"), 416, "M_UNKNOWN")
	if got := a.header.Get("Content-Range"); got != "bytes */50000" {
		t.Errorf("range behind the end: %q", got)
	}
	w.expect(w.get(downloads+path, "If-Match", `"other"`), 412, "M_UNKNOWN")
	a = w.expect(w.get(downloads+path+"/"+url.PathEscape("père; noël/☃.txt")), 200, "")
	if got := a.header.Get("Content-Disposition"); got != "inline; filename*=utf-8''p%C3%A8re%3B%20no%C3%ABl%2F%E2%98%83.txt" {
		t.Errorf("Content-Disposition is %q", got)
	}
	bare := w.upload(nil, "", "")
	a = w.expect(w.get(downloads+bare), 200, "")
	if len(a.body) != 0 || a.header.Get("Content-Type") != unknownType || a.header.Get("Content-Disposition") != "attachment" {
		t.Errorf("empty upload: %v", a.header)
	}
	for _, prefix := range append(legacy, "/_matrix/client/v1/media") {
		if a := w.expect(w.get(prefix+"/config"), 200, ""); strings.TrimSpace(string(a.body)) != `{"m.upload.size":1048576}` {
			t.Errorf("%s/config: %s", prefix, a.body)
		}
	}
}

// TestUnauthenticated: the old endpoints serve nothing, the new ones nobody unknown.
func TestUnauthenticated(t *testing.T) {
	w := newWorld(t, 1<<20)
	path := w.upload(picture(t, "png", 50, 50), "image/png", "")
	for _, prefix := range legacy {
		w.expect(w.get(prefix+"/download/"+path, "Authorization", ""), 404, "M_NOT_FOUND")
		w.expect(w.get(prefix+"/download/"+path+"/x.png", "Authorization", ""), 404, "M_NOT_FOUND")
		w.expect(w.get(prefix+"/thumbnail/"+path+"?width=32&height=32", "Authorization", ""), 404, "M_NOT_FOUND")
		w.expect(w.do("POST", prefix+"/upload", strings.NewReader("x"), "Authorization", ""), 401, "M_MISSING_TOKEN")
	}
	a := w.expect(w.get(downloads+path, "Authorization", ""), 401, "M_MISSING_TOKEN")
	frozen := w.get("/_matrix/media/v3/download/"+path, "Authorization", "")
	for name, want := range guarded {
		if a.header.Get(name) != want[0] || frozen.header.Get(name) != want[0] {
			t.Errorf("a refusal's %s is %q and %q", name, a.header.Get(name), frozen.header.Get(name))
		}
	}
	w.expect(w.get(thumbnails+path+"?width=32&height=32", "Authorization", ""), 401, "M_MISSING_TOKEN")

	// Where an administrator wants it, the old endpoints serve everybody.
	open := newWorldWith(t, Options{MaxUploadSize: 1 << 20, Unauthenticated: true})
	path = open.upload(picture(t, "png", 50, 50), "image/png", "")
	for _, prefix := range legacy {
		for _, rest := range []string{"/download/" + path, "/download/" + path + "/x.png", "/thumbnail/" + path + "?width=32&height=32&method=crop"} {
			got := open.expect(open.get(prefix+rest, "Authorization", ""), 200, "")
			if got.header.Get("Content-Security-Policy") != a.header.Get("Content-Security-Policy") || len(got.body) == 0 {
				t.Errorf("%s: %d bytes with the policy %q", rest, len(got.body), got.header.Get("Content-Security-Policy"))
			}
		}
		open.expect(open.get(prefix+"/download/test.local/nosuch", "Authorization", ""), 404, "M_NOT_FOUND")
	}
	open.expect(open.get(downloads+path, "Authorization", ""), 401, "M_MISSING_TOKEN")
}

func TestHostileNames(t *testing.T) {
	w := newWorld(t, 1<<20)
	path := w.upload([]byte("x"), "text/plain", "")
	id := strings.TrimPrefix(path, "test.local/")
	for _, bad := range []string{
		"other.example/" + id, "test.local/unknown", "test.local/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "test.local/..%2f" + id,
		"test.local/%00", "test.local/%ff", "%2e%2e/" + id, "test.local/" + strings.Repeat("a", 5000), "test.local/%F0%9F%98%80",
		"test.local/*", "test.local/" + strings.ToLower(id),
	} {
		for _, endpoint := range []string{downloads + bad, thumbnails + bad + "?width=9&height=9"} {
			if a := w.get(endpoint); a.status != 404 && a.status != 400 {
				t.Errorf("%s: %d %s", endpoint, a.status, a.body)
			}
		}
	}
	for query, code := range map[string]string{
		"?filename=%ff": "M_INVALID_PARAM", "?filename=a%00b": "M_INVALID_PARAM",
		"?filename=" + strings.Repeat("x", maxFilename+1): "M_INVALID_PARAM",
	} {
		w.expect(w.do("POST", "/_matrix/media/v3/upload"+query, strings.NewReader("x")), 400, code)
	}
	w.expect(w.get(downloads+path+"/%ff"), 400, "M_INVALID_PARAM")
	for _, timeout := range []string{"-1", "soon", "1e3", "99999999999999999999"} {
		w.expect(w.get(downloads+path+"?timeout_ms="+timeout), 400, "M_INVALID_PARAM")
	}
	// A header can't be split by a name.
	split := w.upload([]byte("x"), "text/html", "?filename="+url.QueryEscape("a\r\nSet-Cookie: b=c\r\n\r\n<script>"))
	a := w.expect(w.get(downloads+split), 200, "")
	if got := a.header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment; filename*=utf-8''a%0D%0ASet-Cookie") || a.header.Get("Set-Cookie") != "" {
		t.Errorf("Content-Disposition is %q", got)
	}
}

// TestContentTypes: what a browser could run is never displayed, whatever it is called.
func TestContentTypes(t *testing.T) {
	w := newWorld(t, 1<<20)
	page := []byte("<html><script>alert(1)</script>")
	for claimed, want := range map[string][2]string{
		"image/png":                             {"image/png", "attachment"},
		"Text/Plain; charset=utf8":              {"Text/Plain; charset=utf8", "attachment"},
		"text/html":                             {"text/html", "attachment"},
		"TEXT/HTML":                             {"TEXT/HTML", "attachment"},
		"image/svg+xml":                         {"image/svg+xml", "attachment"},
		"application/xhtml+xml":                 {"application/xhtml+xml", "attachment"},
		"application/pdf":                       {"application/pdf", "attachment"},
		"text/javascript":                       {"text/javascript", "attachment"},
		"multipart/x-mixed-replace; boundary=a": {"multipart/x-mixed-replace; boundary=a", "attachment"},
		"image/png, text/html":                  {unknownType, "attachment"},
		"image/png;;;":                          {unknownType, "attachment"},
		"png":                                   {unknownType, "attachment"},
		"image/png; x=" + strings.Repeat("y", 300): {unknownType, "attachment"},
		"text/plain; charset=\xff":                 {unknownType, "attachment"},
	} {
		a := w.expect(w.get(downloads+w.upload(page, claimed, "")), 200, "")
		if a.header.Get("Content-Type") != want[0] || a.header.Get("Content-Disposition") != want[1] || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q is served as %v", claimed, a.header)
		}
	}
}

// TestInline: what is displayed must be what it is said to be.
func TestInline(t *testing.T) {
	w := newWorld(t, 1<<20)
	avif, flac := "\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1", "fLaC\x00\x00\x00\x22\x10\x00\x10\x00"
	for _, c := range []struct {
		claimed, content string
		inline           bool
	}{
		{"image/png", string(picture(t, "png", 9, 9)), true},
		{"image/apng", string(picture(t, "png", 9, 9)), true},
		{"image/png", string(picture(t, "jpeg", 9, 9)), true}, // a harmless mistake
		{"image/avif", avif, true},
		{"audio/flac", flac, true},
		{"video/mp4", "\x00\x00\x00\x1cftypmp42\x00\x00\x00\x00mp42isom", true},
		{"audio/mpeg", "ID3\x03\x00\x00\x00\x00\x00\x00", true},
		{"text/plain", "if a < b { alert(1) }", true},
		{"Text/CSV; charset=utf8", "a;b\n", true},
		{"application/json", `{"a":"<script>"}`, true},
		{"text/plain", "", true},
		{"image/png", "", false},
		{"image/png", "<html><script>alert(1)</script>", false},
		{"image/png", "\n <!-- --><svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", false},
		{"image/png", "<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", false},
		{"image/png", "alert(1)", false},
		{"image/gif", flac, false},
		{"image/png", avif, false},
		{"image/avif", "<svg/>", false},
		{"video/mp4", "<!DOCTYPE html>", false},
		{"audio/ogg", "alert(1)", false},
		{"video/mp4", "%PDF-1.7", false},
		{"video/webm", string(picture(t, "png", 9, 9)), false},
		{"text/plain", "<!DOCTYPE html>", false},
		{"text/css", string(picture(t, "png", 9, 9)), false},
		{"application/json", "%PDF-1.7", false},
		{"image/svg+xml", string(picture(t, "png", 9, 9)), false},
	} {
		path := w.upload([]byte(c.content), c.claimed, "")
		a := w.expect(w.get(downloads+path), 200, "")
		if inline := a.header.Get("Content-Disposition") == "inline"; inline != c.inline || string(a.body) != c.content {
			t.Errorf("%q claimed as %s is served as %v", c.content, c.claimed, a.header)
		}
	}
}

// TestUnfinishedUploads: what is refused or cut off leaves nothing behind.
func TestUnfinishedUploads(t *testing.T) {
	w := newWorld(t, 1000)
	w.upload(make([]byte, 1000), "", "")
	w.expect(w.do("POST", "/_matrix/media/v3/upload", bytes.NewReader(make([]byte, 1001))), 413, "M_TOO_LARGE")
	chunked := io.MultiReader(bytes.NewReader(make([]byte, 1001))) // no Content-Length
	w.expect(w.do("POST", "/_matrix/media/v3/upload", chunked), 413, "M_TOO_LARGE")

	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\nContent-Length: 500\r\n\r\nhalf")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(conn) // the server is done with it
	conn.Close()
	if w.files("tmp") != 0 || w.files("files") != 1 {
		t.Errorf("%d files, %d unfinished", w.files("files"), w.files("tmp"))
	}

	// A crash in the middle of an upload; and one before the row was written.
	if err := os.WriteFile(filepath.Join(w.dir, "media/tmp/upload-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	lost, err := w.api.store.receive(strings.NewReader("lost"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.db.AnnounceMediaFile(context.Background(), lost.hash[:], lost.size); err != nil {
		t.Fatal(err)
	}
	if err := w.api.store.files.put(context.Background(), lost); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if w.files("tmp") != 0 || w.files("files") != 2 {
		t.Errorf("after a restart: %d files, %d unfinished", w.files("files"), w.files("tmp"))
	}
	if err := w.api.collect(context.Background(), -time.Minute); err != nil {
		t.Fatal(err)
	}
	if w.files("files") != 1 {
		t.Errorf("the file without a row is still there")
	}
	path := w.upload([]byte("lost"), "", "") // the same content again
	w.expect(w.get(downloads+path), 200, "")
}

// TestMemory: an upload and a download hold buffers, not the file: all that is ever
// allocated for it is bounded. HEARTH_MEDIA_SIZE is another size, such as 1073741824.
func TestMemory(t *testing.T) {
	size := int64(64 << 20)
	if s := os.Getenv("HEARTH_MEDIA_SIZE"); s != "" {
		var err error
		if size, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, size)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	path := w.mediaPath(w.expect(w.do("POST", "/_matrix/media/v3/upload", io.LimitReader(zeros{}, size)), 200, ""))
	req, err := http.NewRequest("GET", w.url+downloads+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer alice")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
		t.Fatal(n, err)
	}
	runtime.ReadMemStats(&after)
	used := after.TotalAlloc - before.TotalAlloc
	if used > 8<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", used, size)
	}
	t.Logf("%d KiB were allocated for a file of %d MiB", used>>10, size>>20)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
