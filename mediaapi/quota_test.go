package mediaapi

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// TestQuotaOfSimultaneousUploads: what is on its way counts as what is there, and no longer
// than that.
func TestQuotaOfSimultaneousUploads(t *testing.T) {
	const kib = 1 << 10
	w := newWorldWith(t, Options{MaxUploadSize: 1 << 20, UserQuota: 100 * kib})
	const path = "/_matrix/media/v3/upload"
	begin := func() (finish func() *answer, give *io.PipeWriter) {
		body, give := io.Pipe()
		got := make(chan *answer)
		go func() { got <- w.do("POST", path, body) }()
		if _, err := give.Write(make([]byte, 10*kib)); err != nil {
			t.Error(err)
		}
		for range 1000 {
			if w.files("tmp") > 0 {
				return func() *answer { give.Close(); return <-got }, give
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("the upload doesn't begin")
		return nil, nil
	}

	// One of unknown length may become as large as the quota: nothing else fits meanwhile.
	finish, _ := begin()
	w.expect(w.do("POST", path, bytes.NewReader(make([]byte, 20*kib))), 403, "M_USER_LIMIT_EXCEEDED")
	w.expect(w.do("POST", path, bytes.NewReader(make([]byte, 20*kib)), "as", "bob"), 200, "")
	w.expect(finish(), 200, "") // 10 KiB
	w.expect(w.do("POST", path, bytes.NewReader(make([]byte, 80*kib))), 200, "")

	// What failed, or was cut off by the end of the process, is given back.
	finish, give := begin()
	if _, err := give.Write(make([]byte, 10*kib)); err != nil {
		t.Error(err)
	}
	w.expect(finish(), 403, "M_USER_LIMIT_EXCEEDED")
	w.exec(`INSERT INTO media_uploads (user_id, bytes) VALUES ('@alice:test.local', 10000000)`)
	w.expect(w.do("POST", path, bytes.NewReader(make([]byte, kib))), 403, "M_USER_LIMIT_EXCEEDED")
	w.restart()
	w.expect(w.do("POST", path, bytes.NewReader(make([]byte, 9*kib+1))), 200, "")
}
