package mediaapi

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const previews = "/_matrix/client/v1/media/preview_url?url="

// site is a web server with pages of many kinds.
func site(t *testing.T) (base string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	mux := http.NewServeMux()
	html := func(path, page string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, page)
		})
	}
	html("/page", `<meta property="og:title" content="Title"><meta property="og:image" content="/picture">`)
	html("/oembed", `<title>Video</title><link rel="alternate" type="application/json+oembed" href="/oembed.json">`)
	html("/no-picture", `<title>x</title><meta property="og:image" content="/page"><meta property="og:image:alt" content="alt">`)
	html("/private/page", `<title>secret</title>`)
	mux.HandleFunc("/oembed.json", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"type":"video","author_name":"Somebody","provider_name":"Tube","thumbnail_url":"/picture"}`)
	})
	mux.HandleFunc("/picture", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		w.Write(picture(t, "png", 60, 30))
	})
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, "<title>boom</title>")
		zeros := make([]byte, 1<<20)
		for range 8 {
			if _, err := z.Write(zeros); err != nil {
				return // the reader has had enough
			}
		}
		z.Close()
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("u"), http.StatusFound)
	})
	mux.HandleFunc("/file.pdf", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "application/pdf") })
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(ts.Close)
	return ts.URL, asked
}

func (w *world) preview(link string) map[string]any {
	w.t.Helper()
	var shown map[string]any
	if err := json.Unmarshal(w.expect(w.get(previews+url.QueryEscape(link)), 200, "").body, &shown); err != nil {
		w.t.Fatal(err)
	}
	return shown
}

func TestPreviews(t *testing.T) {
	base, asked := site(t)
	host := strings.TrimPrefix(base, "http://")
	name, _, _ := strings.Cut(host, ":")
	w := newWorldWith(t, Options{MaxUploadSize: 1 << 20, RemoteCache: 1 << 30, Previews: &PreviewOptions{
		AllowPrivateRanges: true, Deny: []string{"*.denied.example", "denied.example", name + "/private/"}}})

	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { w.get(previews + url.QueryEscape(base+"/page#here")) })
	}
	all.Wait()
	shown := w.preview(base + "/page#there")
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times for a page and its picture", n)
	}
	picture, _ := shown["og:image"].(string)
	if shown["og:title"] != "Title" || shown["og:image:width"] != 60.0 || shown["og:image:height"] != 30.0 || shown["og:image:type"] != "image/png" || shown["matrix:image:size"] == 0.0 {
		t.Errorf("shown: %v", shown)
	}
	w.expect(w.get(downloads+strings.TrimPrefix(picture, "mxc://")), 200, "")
	w.exec(`DELETE FROM media`)
	if again := w.preview(base + "/page"); again["og:image"] == picture || again["og:image"] == nil {
		t.Errorf("the picture is gone, and shown is %v", again)
	}

	if shown = w.preview(base + "/oembed"); shown["og:title"] != "Video" || shown["og:site_name"] != "Tube" || shown["og:description"] != "Somebody" || shown["og:image"] == nil {
		t.Errorf("oEmbed: %v", shown)
	}
	if shown = w.preview(base + "/no-picture"); len(shown) != 1 || shown["og:title"] != "x" {
		t.Errorf("a picture that is none: %v", shown)
	}
	if shown = w.preview(base + "/picture"); shown["og:title"] != "picture" || shown["og:image"] == nil {
		t.Errorf("a picture: %v", shown)
	}
	if shown = w.preview(base + "/file.pdf"); len(shown) != 0 {
		t.Errorf("a file: %v", shown)
	}
	if shown = w.preview(base + "/bomb"); shown["og:title"] != "boom" {
		t.Errorf("a bomb: %v", shown)
	}
	if shown = w.preview(base + "/to?u=/page"); shown["og:title"] != "Title" {
		t.Errorf("redirected: %v", shown)
	}
	for link, want := range map[string]string{
		"/loop": "M_UNKNOWN", "/missing": "M_UNKNOWN", "/private/page": "M_FORBIDDEN", "/PRIVATE/page": "M_FORBIDDEN", "/to?u=/private/page": "M_FORBIDDEN",
		"/to?u=" + url.QueryEscape("http://a.denied.example/"): "M_FORBIDDEN", "/to?u=file:///etc/passwd": "M_FORBIDDEN",
	} {
		if a := w.get(previews + url.QueryEscape(base+link)); a.errcode() != want {
			t.Errorf("%s: %d %s, want %s", link, a.status, a.body, want)
		}
	}
	for link, want := range map[string]string{
		"": "M_MISSING_PARAM", "ftp://example.org/": "M_INVALID_PARAM", "example.org": "M_INVALID_PARAM", "http://[::1": "M_INVALID_PARAM",
		"http://" + strings.Repeat("x", maxLink): "M_INVALID_PARAM", "http://x\n/": "M_INVALID_PARAM",
	} {
		w.expect(w.get(previews+url.QueryEscape(link)), 400, want)
	}
	w.expect(w.get(previews+url.QueryEscape(base+"/page")+"&ts=soon"), 400, "M_INVALID_PARAM")
	w.expect(w.get(previews+url.QueryEscape(base+"/page"), "Authorization", ""), 401, "M_MISSING_TOKEN")
	w.expect(w.get("/_matrix/media/v3/preview_url?url="+url.QueryEscape(base+"/page")), 200, "")
}

// TestPrivatePreviews: nobody makes the server ask inside its own network, however the
// address is written.
func TestPrivatePreviews(t *testing.T) {
	base, asked := site(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(base, "http://"), ":")
	w := newWorldWith(t, Options{MaxUploadSize: 1 << 20, Previews: &PreviewOptions{}})
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "10.0.0.1", "[fe80::1]", "[fc00::1]"} {
		w.expect(w.get(previews+url.QueryEscape("http://"+host+":"+port+"/page")), 403, "M_FORBIDDEN")
	}
	// What only a lenient resolver takes for an address may be refused in another way.
	for _, host := range []string{"2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "127.000.000.001", "0", "localhost.", "LOCALHOST",
		"[::1%25lo]", "[fe80::1%25lo]", "127.0.0.1.", "①②⑦.⓪.⓪.①", "127。0。0。1", "user@127.0.0.1", "1.1.1.1@127.0.0.1"} {
		if a := w.get(previews + url.QueryEscape("http://"+host+":"+port+"/page")); a.status != 403 && a.status != 502 && a.status != 400 {
			t.Errorf("%s: %d %s", host, a.status, a.body)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
	off := newWorld(t, 1000)
	off.expect(off.get(previews+url.QueryEscape(base)), 404, "M_UNRECOGNIZED")
}
