package mediaapi

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"hearth/internal/httpapi"
	"hearth/internal/testenv"
	"hearth/storage"
)

// world is a content repository behind real HTTP, on a database of its own.
type world struct {
	t   testing.TB
	dsn string
	db  *storage.DB
	dir string
	o   Options
	api *API
	url string
	// server is what the API is registered with.
	server atomic.Pointer[httpapi.Server]
}

func newWorld(t testing.TB, maxUploadSize int64) *world {
	t.Helper()
	return newWorldWith(t, Options{MaxUploadSize: maxUploadSize})
}

// newWorldWith is newWorld with further options.
func newWorldWith(t testing.TB, o Options) *world {
	t.Helper()
	w := &world{t: t, dsn: testenv.Database(t), dir: o.DataDir, o: o}
	if w.dir == "" {
		w.dir = t.TempDir()
	}
	var err error
	if w.db, err = storage.Open(context.Background(), w.dsn, storage.Options{MaxConnections: 10}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	w.open()
	ts := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.server.Load().ServeHTTP(rw, r) }))
	w.url = ts.URL
	t.Cleanup(func() {
		ts.Close()
		w.api.Close()
	})
	return w
}

func (w *world) open() {
	w.t.Helper()
	w.o.DB, w.o.DataDir, w.o.ServerName = w.db, w.dir, "test.local"
	api, err := New(w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.api = api
	server := httpapi.NewServer(httpapi.Options{Authenticate: authenticate, AdminContact: "mailto:admin@test.local"})
	api.Register(server)
	w.server.Store(server)
}

// restart opens the store as a new process would.
func (w *world) restart() {
	w.t.Helper()
	w.api.Close()
	w.open()
}

// authenticate knows every user by a token that is their name.
func authenticate(_ context.Context, token string) (*httpapi.Requester, error) {
	return &httpapi.Requester{UserID: "@" + token + ":test.local"}, nil
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) errcode() string {
	var e struct {
		Errcode string `json:"errcode"`
	}
	_ = json.Unmarshal(a.body, &e)
	return e.Errcode
}

// do sends a request as @alice, or as whom the header as names.
func (w *world) do(method, path string, body io.Reader, header ...string) *answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer alice")
	for i := 0; i < len(header); i += 2 {
		if header[i] == "as" {
			req.Header.Set("Authorization", "Bearer "+header[i+1])
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	// The transport decompresses and follows nothing: what is compared is what was sent.
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &answer{res.StatusCode, res.Header, got}
}

func (w *world) get(path string, header ...string) *answer {
	w.t.Helper()
	return w.do("GET", path, nil, header...)
}

// expect fails unless the answer has this status and, for an error, this code.
func (w *world) expect(a *answer, status int, errcode string) *answer {
	w.t.Helper()
	if a.status != status || a.errcode() != errcode {
		w.t.Fatalf("got %d %.200s, want %d %s", a.status, a.body, status, errcode)
	}
	return a
}

// upload stores content and returns the path of its media below download/ or thumbnail/.
func (w *world) upload(content []byte, contentType, query string) string {
	w.t.Helper()
	a := w.expect(w.do("POST", "/_matrix/media/v3/upload"+query, bytes.NewReader(content), "Content-Type", contentType), 200, "")
	return w.mediaPath(a)
}

// mediaPath reads content_uri.
func (w *world) mediaPath(a *answer) string {
	w.t.Helper()
	var r struct {
		ContentURI string `json:"content_uri"`
	}
	if err := json.Unmarshal(a.body, &r); err != nil {
		w.t.Fatal(err)
	}
	path, ok := strings.CutPrefix(r.ContentURI, "mxc://")
	if !ok || !strings.HasPrefix(path, "test.local/") {
		w.t.Fatalf("content_uri is %q", r.ContentURI)
	}
	return path
}

// files counts the regular files below a folder of the store.
func (w *world) files(folder string) int {
	w.t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(w.dir, "media", folder), func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func picture(t testing.TB, format string, width, height int) []byte {
	t.Helper()
	img := image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.White, color.Black})
	for i := range img.Pix {
		img.Pix[i] = uint8(i / 16 % 2)
	}
	var b bytes.Buffer
	var err error
	switch format {
	case "png":
		err = png.Encode(&b, img)
	case "jpeg":
		err = jpeg.Encode(&b, img, nil)
	case "gif":
		err = gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{img, img}, Delay: []int{10, 10}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) exec(statement string) {
	w.t.Helper()
	testenv.Exec(w.t, w.dsn, statement)
}

func (w *world) hash(origin, id string) []byte {
	w.t.Helper()
	m, err := w.db.GetMedia(w.t.Context(), origin, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return m.SHA256
}
