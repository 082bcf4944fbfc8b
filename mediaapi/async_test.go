package mediaapi

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hearth/storage"
)

func TestAsynchronousUpload(t *testing.T) {
	w := newWorld(t, 1000)
	created := w.expect(w.do("POST", "/_matrix/media/v1/create", nil), 200, "")
	path := w.mediaPath(created)
	var r struct {
		Expires int64 `json:"unused_expires_at"`
	}
	if err := json.Unmarshal(created.body, &r); err != nil || time.Until(time.UnixMilli(r.Expires)) < reservedFor/2 {
		t.Errorf("expires at %d: %v", r.Expires, err)
	}
	w.expect(w.get(downloads+path+"?timeout_ms=1"), 504, "M_NOT_YET_UPLOADED")
	w.expect(w.get(thumbnails+path+"?timeout_ms=1&width=9&height=9"), 504, "M_NOT_YET_UPLOADED")

	put := "/_matrix/media/v3/upload/"
	w.expect(w.do("PUT", put+path, strings.NewReader("mine"), "as", "bob"), 403, "M_FORBIDDEN")
	w.expect(w.do("PUT", put+"test.local/unknown", strings.NewReader("x")), 404, "M_NOT_FOUND")
	w.expect(w.do("PUT", put+strings.Replace(path, "test.local", "other.example", 1), strings.NewReader("x")), 404, "M_NOT_FOUND")
	w.expect(w.do("PUT", put+path, bytes.NewReader(make([]byte, 1001))), 413, "M_TOO_LARGE")

	waiting := make(chan *answer)
	for range 3 {
		go func() { waiting <- w.get(downloads + path + "?timeout_ms=60000") }()
	}
	w.expect(w.do("PUT", put+path+"?filename=a.txt", strings.NewReader("late"), "Content-Type", "text/plain"), 200, "")
	for range 3 {
		a := w.expect(<-waiting, 200, "")
		if string(a.body) != "late" || a.header.Get("Content-Disposition") != "inline; filename=a.txt" {
			t.Errorf("got %q %v", a.body, a.header)
		}
	}
	w.expect(w.do("PUT", put+path, strings.NewReader("other")), 409, "M_CANNOT_OVERWRITE_MEDIA")
	w.expect(w.do("PUT", put+w.upload([]byte("x"), "", ""), strings.NewReader("other")), 409, "M_CANNOT_OVERWRITE_MEDIA")
	if n := len(w.api.arrivals.waiting); n != 0 {
		t.Errorf("%d arrivals are still watched", n)
	}
}

func TestReservedIDs(t *testing.T) {
	w := newWorld(t, 1000)
	ctx := context.Background()
	expired := &storage.Media{Origin: "test.local", ID: "expired", UserID: "@alice:test.local"}
	if _, err := w.db.ReserveMediaID(ctx, expired, -time.Second, maxReserved); err != nil {
		t.Fatal(err)
	}
	w.expect(w.get(downloads+"test.local/expired"), 404, "M_NOT_FOUND")
	w.expect(w.do("PUT", "/_matrix/media/v3/upload/test.local/expired", strings.NewReader("x")), 404, "M_NOT_FOUND")
	if err := w.api.collect(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.db.GetMedia(ctx, "test.local", "expired"); err != storage.ErrNotFound {
		t.Errorf("the expired id is still there: %v", err)
	}
	for range maxReserved {
		w.expect(w.do("POST", "/_matrix/media/v1/create", nil), 200, "")
	}
	w.expect(w.do("POST", "/_matrix/media/v1/create", nil), 429, "M_LIMIT_EXCEEDED")
	w.expect(w.do("POST", "/_matrix/media/v1/create", nil, "as", "bob"), 200, "")
}
