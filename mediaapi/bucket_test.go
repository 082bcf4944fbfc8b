package mediaapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// objectStorage starts an S3 server with a bucket. HEARTH_S3 names one that runs, such as
// http://key:secret@127.0.0.1:8333, where the test makes its bucket.
func objectStorage(t *testing.T) *Bucket {
	t.Helper()
	if real := os.Getenv("HEARTH_S3"); real != "" {
		return bucketAt(t, real)
	}
	backend := s3mem.New()
	if err := backend.CreateBucket("media"); err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(ts.Close)
	return &Bucket{Endpoint: strings.TrimPrefix(ts.URL, "http://"), Name: "media", AccessKey: "key", SecretKey: "secret", Prefix: "hearth/", PlainHTTP: true}
}

func bucketAt(t *testing.T, address string) *Bucket {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	b := &Bucket{
		Endpoint: u.Host, Name: "hearth-" + strings.ToLower(rand.Text()), AccessKey: u.User.Username(), SecretKey: secret,
		Prefix: "hearth/", PlainHTTP: u.Scheme == "http",
	}
	client, err := minio.New(b.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(b.AccessKey, b.SecretKey, ""), Secure: !b.PlainHTTP})
	if err == nil {
		err = client.MakeBucket(t.Context(), b.Name, minio.MakeBucketOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // empty by then
		if err := client.RemoveBucket(context.Background(), b.Name); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestBucket: files in a bucket are served as those on the disk are, and move from one to
// the other.
func TestBucket(t *testing.T) {
	ctx, b := context.Background(), objectStorage(t)
	w := newWorldWith(t, Options{MaxUploadSize: 64 << 20, Bucket: b})
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	path := w.upload(content, "text/plain", "")
	large := w.upload(make([]byte, 20<<20), "", "") // in more than one part
	if w.files("tmp") != 0 || w.files("") != 0 {
		t.Errorf("%d files are on the disk", w.files(""))
	}
	image := w.upload(picture(t, "png", 600, 300), "image/png", "")
	w.settle()
	if w.files("thumbnails") != 3 || w.files("") != 3 {
		t.Errorf("%d files are on the disk, %d thumbnails", w.files(""), w.files("thumbnails"))
	}
	check := func() {
		t.Helper()
		if a := w.expect(w.get(downloads+path), 200, ""); !bytes.Equal(a.body, content) {
			t.Error("other content came back")
		}
		if a := w.get(downloads+path, "Range", "bytes=999995-"); a.status != 206 || string(a.body) != "56789" {
			t.Errorf("range: %d %q", a.status, a.body)
		}
		if a := w.expect(w.get(downloads+large), 200, ""); len(a.body) != 20<<20 {
			t.Errorf("%d bytes came back", len(a.body))
		}
		w.expect(w.get(thumbnails+image+"?width=32&height=32&method=crop"), 200, "")
	}
	check()

	back, err := Copy(ctx, w.db, w.dir, b, false, false)
	if err != nil || back.Files != 3 || back.Missing != 0 {
		t.Fatal(back, err)
	}
	w.o.Bucket = nil
	w.restart()
	check()
	moved, err := Copy(ctx, w.db, w.dir, b, true, true)
	if err != nil || moved.There != 3 || moved.Files != 0 || w.files("files") != 0 {
		t.Fatal(moved, err, w.files("files"))
	}
	w.o.Bucket = b
	w.restart()
	check()

	w.exec(`DELETE FROM media`)
	if err := w.api.collect(ctx, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := w.api.store.files.open(ctx, fileHash{}); !os.IsNotExist(err) && !strings.Contains(err.Error(), os.ErrNotExist.Error()) {
		t.Error(err)
	}
	if left, err := Copy(ctx, w.db, w.dir, b, false, false); err != nil || left.Files+left.There+left.Missing != 0 {
		t.Error(left, err)
	}
	w.o.Bucket = &Bucket{Endpoint: b.Endpoint, Name: "nowhere", AccessKey: b.AccessKey, SecretKey: b.SecretKey, PlainHTTP: b.PlainHTTP}
	if _, err := New(w.o); err == nil || !strings.Contains(err.Error(), "there is no bucket nowhere") {
		t.Error(err)
	}
}
