package mediaapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"
)

// refusal is what an object storage answers to who wants to store something.
type refusal struct {
	status int
	code   string
}

// refusing puts itself before an object storage and refuses what is to be stored as long as there is a refusal, of large files
// all but the first part.
func refusing(t *testing.T, b *Bucket) *atomic.Pointer[refusal] {
	t.Helper()
	var now atomic.Pointer[refusal]
	behind := &url.URL{Scheme: "http", Host: b.Endpoint}
	pass := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(behind)
		p.Out.Host = p.In.Host // it is signed
	}}
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		part := r.URL.Query().Get("partNumber")
		if refuse := now.Load(); refuse != nil && r.Method == "PUT" && part != "1" {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(refuse.status)
			fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>no</Message></Error>`, refuse.code)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(ts.Close)
	b.Endpoint = strings.TrimPrefix(ts.URL, "http://")
	return &now
}

// TestFullBucket: a storage that has no room, or doesn't want, is said to be so, and leaves nothing behind; when it takes files
// again, all is well.
func TestFullBucket(t *testing.T) {
	b := objectStorage(t)
	refuse := refusing(t, b)
	w := newWorldWith(t, Options{MaxUploadSize: 64 << 20, Bucket: b})
	before := w.upload([]byte("before"), "text/plain", "")
	for _, c := range []struct {
		refusal
		status  int
		errcode string
	}{
		{refusal{507, "XMinioStorageFull"}, 507, "M_RESOURCE_LIMIT_EXCEEDED"},
		{refusal{400, "XMinioAdminBucketQuotaExceeded"}, 507, "M_RESOURCE_LIMIT_EXCEEDED"},
		{refusal{403, "QuotaExceeded"}, 507, "M_RESOURCE_LIMIT_EXCEEDED"},
		{refusal{403, "AccessDenied"}, 503, "M_UNKNOWN"},
	} {
		refuse.Store(&c.refusal)
		a := w.expect(w.do("POST", "/_matrix/media/v3/upload", strings.NewReader("small")), c.status, c.errcode)
		if c.status == 507 && !bytes.Contains(a.body, []byte(`"admin_contact":"mailto:admin@test.local"`)) {
			t.Errorf("the answer names nobody: %s", a.body)
		}
	}
	w.expect(w.do("POST", "/_matrix/media/v3/upload", io.LimitReader(zeros{}, 40<<20)), 503, "M_UNKNOWN") // in parts
	w.expect(w.get(downloads+before), 200, "")
	if w.files("tmp") != 0 {
		t.Errorf("%d files are unfinished", w.files("tmp"))
	}
	if n := unfinished(t, w); n != 0 {
		t.Errorf("%d files of the bucket are unfinished", n)
	}
	refuse.Store(nil)
	w.expect(w.get(downloads+w.upload([]byte("small"), "text/plain", "")), 200, "")

	// A crash in the middle leaves parts, which go.
	store := w.api.store.files.(*bucket)
	core := minio.Core{Client: store.client}
	id, err := core.NewMultipartUpload(t.Context(), store.name, store.key(fileHash{1}), minio.PutObjectOptions{})
	if err == nil {
		_, err = core.PutObjectPart(t.Context(), store.name, store.key(fileHash{1}), id, 1, strings.NewReader("part"), 4, minio.PutObjectPartOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := unfinished(t, w); n != 1 {
		t.Errorf("%d files of the bucket are unfinished", n)
	}
	if err := store.sweep(t.Context(), unusedAge); err != nil || unfinished(t, w) != 1 {
		t.Errorf("what has just begun: %d %v", unfinished(t, w), err)
	}
	if err := store.sweep(t.Context(), -unusedAge); err != nil || unfinished(t, w) != 0 {
		t.Errorf("what was begun long ago: %d %v", unfinished(t, w), err)
	}
	w.exec(`DELETE FROM media`)
	if err := w.api.collect(t.Context(), -unusedAge); err != nil {
		t.Fatal(err)
	}
}

func unfinished(t *testing.T, w *world) (n int) {
	t.Helper()
	store := w.api.store.files.(*bucket)
	for part := range store.client.ListIncompleteUploads(t.Context(), store.name, store.prefix, true) {
		if minio.ToErrorResponse(part.Err).StatusCode == http.StatusNotFound {
			break
		}
		if part.Err != nil {
			t.Fatal(part.Err)
		}
		n++
	}
	return n
}
