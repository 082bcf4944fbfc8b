package mediaapi

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/testenv"
)

// otherServer is a homeserver on loopback that answers as its handler likes.
type otherServer struct {
	name   string // its server name
	asked  atomic.Int64
	handle atomic.Pointer[http.HandlerFunc]
}

func (s *otherServer) answer(handle http.HandlerFunc) { s.handle.Store(&handle) }

// parts answers with two parts; head are the second's headers.
func (s *otherServer) parts(head, content string) {
	s.answer(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/_matrix/federation/v1/media/download/") || !strings.HasPrefix(r.Header.Get("Authorization"), "X-Matrix ") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
		fmt.Fprintf(w, "preamble\r\n--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n%s\r\n\r\n%s\r\n--b--", head, content)
	})
}

// newFederated returns a content repository and another server that it can reach.
func newFederated(t *testing.T, o Options) (*world, *otherServer) {
	t.Helper()
	other := &otherServer{}
	ts := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		other.asked.Add(1)
		(*other.handle.Load())(w, r)
	}))
	t.Cleanup(ts.Close)
	other.name = strings.TrimPrefix(ts.URL, "https://")
	pool := x509.NewCertPool()
	pool.AddCert(ts.Certificate())
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Federation, err = client.New(context.Background(), client.Options{
		DB: testenv.Open(t), ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: key, RootCAs: pool, AllowPrivateRanges: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Federation.Close)
	if o.MaxRemoteSize == 0 {
		o.MaxRemoteSize, o.RemoteCache = 1<<20, 1<<30
	}
	if o.MaxUploadSize == 0 {
		o.MaxUploadSize = 1 << 20
	}
	return newWorldWith(t, o), other
}

// TestRemoteMedia: another server's picture is fetched once, however many look at it
// at the same time, and served like one's own.
func TestRemoteMedia(t *testing.T) {
	w, other := newFederated(t, Options{})
	content := string(picture(t, "png", 600, 300))
	other.parts("Content-Type: image/png\r\nContent-Disposition: attachment; filename*=utf-8''p%C3%A8re.png", content)
	path := other.name + "/abc"
	w.expect(w.get(downloads+path+"?allow_remote=false"), 404, "M_NOT_FOUND")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if a := w.get(downloads + path); a.status != 200 || string(a.body) != content {
				t.Errorf("got %d %.100q", a.status, a.body)
			}
		})
	}
	all.Wait()
	a := w.expect(w.get(downloads+path+"?allow_remote=false"), 200, "")
	if a.header.Get("Content-Type") != "image/png" || a.header.Get("Content-Disposition") != "inline; filename*=utf-8''p%C3%A8re.png" {
		t.Errorf("served as %v", a.header)
	}
	a = w.expect(w.get(thumbnails+path+"?width=96&height=96&method=crop"), 200, "")
	if a.header.Get("Content-Type") != "image/png" || len(a.body) == 0 {
		t.Errorf("thumbnail is %v", a.header)
	}
	if n := other.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if w.files("files") != 1 || w.files("tmp") != 0 {
		t.Errorf("%d files, %d unfinished", w.files("files"), w.files("tmp"))
	}
	// The same content under another id is no second file.
	w.expect(w.get(downloads+other.name+"/def"), 200, "")
	if w.files("files") != 1 {
		t.Errorf("%d files", w.files("files"))
	}
	w.expect(w.get(downloads+"no%20server/abc"), 404, "M_NOT_FOUND")
	w.expect(w.get(downloads+other.name+"/..%2fabc"), 404, "M_NOT_FOUND")
	if a := w.get(downloads + "127.0.0.1:1/abc"); a.status != 502 {
		t.Errorf("a server that isn't there: %d %s", a.status, a.body)
	}
}

// TestRemoteRoutes: how Hearth serves another Hearth, an older server, and content that
// is somewhere else.
func TestRemoteRoutes(t *testing.T) {
	w, other := newFederated(t, Options{})
	theirs := newWorld(t, 1<<20)
	file := picture(t, "jpeg", 400, 200)
	id := strings.TrimPrefix(theirs.upload(file, "image/jpeg", "?filename=a%22b.jpg"), "test.local/")
	served := httpapi.NewServer(httpapi.Options{})
	served.Register([]string{"/_matrix/federation/v1/media"}, []httpapi.Route{
		{Method: "GET", Path: "/download/{mediaId}", Auth: httpapi.AuthNone, Handle: func(r *http.Request, _ *httpapi.Requester) (any, error) {
			return theirs.api.ServeDownload(r)
		}},
		{Method: "GET", Path: "/thumbnail/{mediaId}", Auth: httpapi.AuthNone, Handle: func(r *http.Request, _ *httpapi.Requester) (any, error) {
			return theirs.api.ServeThumbnail(r)
		}},
	})
	other.answer(served.ServeHTTP)
	a := w.expect(w.get(downloads+other.name+"/"+id), 200, "")
	if !bytes.Equal(a.body, file) || a.header.Get("Content-Disposition") != `inline; filename="a\"b.jpg"` {
		t.Errorf("got %d bytes, %v", len(a.body), a.header)
	}
	res, err := w.o.Federation.Stream(t.Context(), client.Request{Method: "GET", Server: other.name, URI: "/_matrix/federation/v1/media/thumbnail/" + id + "?width=32&height=32&method=crop"})
	if err != nil {
		t.Fatal(err)
	}
	if thumb, location, err := splitParts(res.Header.Get("Content-Type"), res.Body); err != nil || location != "" || thumb.contentType != "image/jpeg" {
		t.Errorf("thumbnail: %v %q %v", thumb, location, err)
	}
	res.Body.Close()

	reserved := theirs.mediaPath(theirs.expect(theirs.do("POST", "/_matrix/media/v1/create", nil), 200, ""))
	w.expect(w.get(downloads+other.name+strings.TrimPrefix(reserved, "test.local")+"?timeout_ms=1"), 504, "M_NOT_YET_UPLOADED")

	// Servers from before authenticated media; and content at an address of its own.
	other.answer(func(w http.ResponseWriter, r *http.Request) {
		old, found := strings.CutPrefix(r.URL.Path, "/_matrix/media/v3/download/"+other.name+"/old")
		switch {
		case found && len(old) < 3 && r.Header.Get("Authorization") == "" && r.URL.Query().Get("allow_remote") == "false":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<p>old")
		case r.URL.Path == "/_matrix/federation/v1/media/download/older":
			http.Error(w, "what?", http.StatusBadRequest)
		case r.URL.Path == "/_matrix/federation/v1/media/download/elsewhere":
			w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
			fmt.Fprintf(w, "--b\r\n\r\n{}\r\n--b\r\nLocation: https://%s/cdn\r\n\r\n\r\n--b--", other.name)
		case r.URL.Path == "/cdn":
			http.Redirect(w, r, "/cdn/file", http.StatusFound)
		case r.URL.Path == "/cdn/file":
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "from elsewhere")
		default:
			w.WriteHeader(404)
			fmt.Fprint(w, `{"errcode":"M_UNRECOGNIZED"}`)
		}
	})
	a = w.expect(w.get(downloads+other.name+"/old"), 200, "")
	if string(a.body) != "<p>old" || a.header.Get("Content-Disposition") != "attachment" {
		t.Errorf("old server: %q %v", a.body, a.header)
	}
	w.expect(w.get(downloads+other.name+"/older"), 200, "")
	if a = w.expect(w.get(downloads+other.name+"/elsewhere"), 200, ""); string(a.body) != "from elsewhere" {
		t.Errorf("elsewhere: %q", a.body)
	}
	asked := other.asked.Load()
	for range 5 {
		w.expect(w.get(downloads+other.name+"/missing"), 404, "M_NOT_FOUND")
	}
	if n := other.asked.Load() - asked; n != 2 { // by both endpoints, once
		t.Errorf("asked %d times for what isn't there", n)
	}
}

// TestHostileServers: answers that are too large, cut off, malformed or endless.
func TestHostileServers(t *testing.T) {
	w, other := newFederated(t, Options{MaxRemoteSize: 1000, RemoteCache: 1 << 20})
	endless := strings.Repeat("x", maxPartHeaders+4096)
	for name, c := range map[string]struct {
		contentType, body string
		code              string
	}{
		"too large":       {"multipart/mixed; boundary=b", "--b\r\n\r\n{}\r\n--b\r\n\r\n" + strings.Repeat("x", 1001) + "\r\n--b--", "M_TOO_LARGE"},
		"cut off":         {"multipart/mixed; boundary=b", "--b\r\n\r\n{}\r\n--b\r\n\r\nhalf", "M_UNKNOWN"},
		"one part":        {"multipart/mixed; boundary=b", "--b\r\n\r\n{}\r\n--b--", "M_UNKNOWN"},
		"metadata":        {"multipart/mixed; boundary=b", "--b\r\n\r\n[]\r\n--b\r\n\r\nx\r\n--b--", "M_UNKNOWN"},
		"no boundary":     {"multipart/mixed", "x", "M_UNKNOWN"},
		"no parts":        {"image/png", "x", "M_UNKNOWN"},
		"headers":         {"multipart/mixed; boundary=b", "--b\r\n\r\n{}\r\n--b\r\nX: " + endless + "\r\n\r\nx\r\n--b--", "M_UNKNOWN"},
		"preamble":        {"multipart/mixed; boundary=b", endless, "M_UNKNOWN"},
		"elsewhere":       {"multipart/mixed; boundary=b", "--b\r\n\r\n{}\r\n--b\r\nLocation: http://127.0.0.1/x\r\n\r\n\r\n--b--", "M_UNKNOWN"},
		"elsewhere local": {"multipart/mixed; boundary=b", "--b\r\n\r\n{}\r\n--b\r\nLocation: file:///etc/passwd\r\n\r\n\r\n--b--", "M_UNKNOWN"},
	} {
		other.answer(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", c.contentType)
			fmt.Fprint(w, c.body)
		})
		a := w.get(downloads + other.name + "/" + strings.ReplaceAll(name, " ", "-"))
		if a.status != 502 || a.errcode() != c.code {
			t.Errorf("%s: %d %.200s, want 502 %s", name, a.status, a.body, c.code)
		}
	}
	if w.files("files") != 0 || w.files("tmp") != 0 {
		t.Errorf("%d files, %d unfinished", w.files("files"), w.files("tmp"))
	}
}

// TestRemoteCache: what was not used for longest makes room, files and all; what users
// uploaded stays.
func TestRemoteCache(t *testing.T) {
	w, other := newFederated(t, Options{MaxRemoteSize: 1000, RemoteCache: 1 << 20})
	own := w.upload([]byte("mine"), "text/plain", "")
	for i := range 10 {
		other.parts("Content-Type: text/plain", strings.Repeat(fmt.Sprint(i), 1000))
		w.expect(w.get(downloads+other.name+"/"+fmt.Sprint(i)), 200, "")
	}
	other.parts("Content-Type: text/plain", "mine")
	w.expect(w.get(downloads+other.name+"/copy"), 200, "")
	ctx := context.Background()
	if held := w.api.cache.held.Load(); held != 10_004 {
		t.Errorf("%d bytes are held", held)
	}
	if err := w.api.accesses.flush(ctx, w.db); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE media SET accessed_at = accessed_at - interval '1 day'`)
	w.exec(`UPDATE media_files SET touched_at = touched_at - interval '1 day'`)
	w.expect(w.get(downloads+other.name+"/0?allow_remote=false"), 200, "")
	if err := w.api.accesses.flush(ctx, w.db); err != nil {
		t.Fatal(err)
	}
	w.api.cache.budget = 5000
	if err := w.api.makeRoom(ctx); err != nil {
		t.Fatal(err)
	}
	if held := w.api.cache.held.Load(); held > 4500 || held < 3000 {
		t.Errorf("%d bytes are held", held)
	}
	w.expect(w.get(downloads+other.name+"/0?allow_remote=false"), 200, "")
	w.expect(w.get(downloads+other.name+"/1?allow_remote=false"), 404, "M_NOT_FOUND")
	w.expect(w.get(downloads+own), 200, "")
	if n := w.files("files"); n != 1+4 {
		t.Errorf("%d files are kept", n)
	}
	// A file that is deleted in between is an answer, no failure.
	if err := w.api.store.remove(ctx, fileHash(w.hash(other.name, "0"))); err != nil {
		t.Fatal(err)
	}
	w.expect(w.get(downloads+other.name+"/0"), 404, "M_NOT_FOUND")
}

// TestStalledServer: a server that stops sending is given up.
func TestStalledServer(t *testing.T) {
	ctx, watch := watchProgress(t.Context(), 10*time.Millisecond)
	defer watch.stop()
	<-ctx.Done()
	if err := fetchError(watch.explain(ctx.Err()), 1); httpapi.CodeOf(err) != "M_UNKNOWN" {
		t.Error(err)
	}
}
