package mediaapi

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
)

// TestRanges: pieces of a file, several at once, those that aren't there, and more than anybody needs; from the disk and from a bucket.
func TestRanges(t *testing.T) {
	for name, bucket := range map[string]*Bucket{"disk": nil, "bucket": objectStorage(t)} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, Options{MaxUploadSize: 1 << 20, Bucket: bucket})
			content := bytes.Repeat([]byte("0123456789"), 10_000)
			path := w.upload(content, "text/plain", "")
			etag := w.get(downloads + path).header.Get("ETag")
			for asked, want := range map[string]string{
				"bytes=0-4": "01234", "bytes=99998-": "89", "bytes=-3": "789", "bytes=99999-200000": "9", "bytes=-1000000": string(content),
			} {
				if a := w.get(downloads+path, "Range", asked); a.status != 206 || string(a.body) != want {
					t.Errorf("%s: %d with %d bytes", asked, a.status, len(a.body))
				}
			}
			a := w.get(downloads+path, "Range", "bytes=1-3, 15-16,-2")
			_, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
			if a.status != 206 || err != nil {
				t.Fatalf("several ranges: %d %v %v", a.status, a.header, err)
			}
			parts := multipart.NewReader(bytes.NewReader(a.body), params["boundary"])
			for _, want := range []string{"123", "56", "89"} {
				p, err := parts.NextRawPart()
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(p); string(got) != want || err != nil || p.Header.Get("Content-Type") != "text/plain" || !strings.HasSuffix(p.Header.Get("Content-Range"), "/100000") {
					t.Errorf("got %q %v, want %q: %v", got, p.Header, want, err)
				}
			}
			for _, none := range []string{"bytes=100000-", "bytes=5-3", "bytes=x-", "bytes=100000-100001,200000-"} {
				a := w.expect(w.get(downloads+path, "Range", none), 416, "M_UNKNOWN")
				if a.header.Get("Content-Security-Policy") == "" || a.header.Get("Content-Disposition") != "" && len(a.body) == 0 {
					t.Errorf("%s: %v", none, a.header)
				}
			}
			for _, whole := range []string{"lines=1-2", "bytes=0-0" + strings.Repeat(",0-0", 2*maxRanges), "bytes=0-,0-,0-"} {
				if a := w.get(downloads+path, "Range", whole); a.status != 200 || len(a.body) != len(content) {
					t.Errorf("%s: %d with %d bytes", whole, a.status, len(a.body))
				}
			}
			if a := w.get(downloads+path, "Range", "bytes=0-4", "If-Range", etag); a.status != 206 {
				t.Errorf("the same content: %d", a.status)
			}
			if a := w.get(downloads+path, "Range", "bytes=0-4", "If-Range", `"other"`); a.status != 200 {
				t.Errorf("other content: %d", a.status)
			}
			w.exec(`DELETE FROM media`)
			if err := w.api.collect(t.Context(), -1); err != nil {
				t.Fatal(err)
			}
		})
	}
}
