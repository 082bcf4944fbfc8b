package mediaapi

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFullDisk: who uploads to a full disk is told so, nothing of it stays, and all else goes on; then there is
// room again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "media"), 0o700); err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(dir, "media")
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("a small disk can't be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w, other := newFederated(t, Options{DataDir: dir, MaxUploadSize: 8 << 20, MaxRemoteSize: 8 << 20, RemoteCache: 1 << 30})
	image := w.upload(picture(t, "png", 600, 600), "image/png", "")
	w.settle()
	first := w.mediaPath(w.expect(w.do("POST", "/_matrix/media/v3/upload", io.LimitReader(zeros{}, 2<<20)), 200, ""))
	fill(t, filepath.Join(small, "filler"))
	w.expect(w.do("POST", "/_matrix/media/v3/upload", bytes.NewReader(bytes.Repeat([]byte("x"), 1<<20))), 507, "M_RESOURCE_LIMIT_EXCEEDED")
	reserved := w.mediaPath(w.expect(w.do("POST", "/_matrix/media/v1/create", nil), 200, ""))
	w.expect(w.do("PUT", "/_matrix/media/v3/upload/"+reserved, bytes.NewReader(bytes.Repeat([]byte("y"), 1<<20))), 507, "M_RESOURCE_LIMIT_EXCEEDED")
	other.parts("Content-Type: text/plain", string(bytes.Repeat([]byte("z"), 1<<20)))
	w.expect(w.get(downloads+other.name+"/large"), 507, "M_RESOURCE_LIMIT_EXCEEDED")
	w.expect(w.get(thumbnails+image+"?width=128&height=128&method=crop"), 507, "M_RESOURCE_LIMIT_EXCEEDED") // one that isn't there yet
	if w.files("tmp") != 0 || w.files("files") != 2 {
		t.Errorf("%d files, %d unfinished", w.files("files"), w.files("tmp"))
	}
	if a := w.expect(w.get(downloads+first), 200, ""); len(a.body) != 2<<20 {
		t.Errorf("%d bytes came back", len(a.body))
	}
	w.expect(w.get(thumbnails+image+"?width=32&height=32&method=crop"), 200, "")

	if err := os.Remove(filepath.Join(small, "filler")); err != nil {
		t.Fatal(err)
	}
	w.expect(w.do("PUT", "/_matrix/media/v3/upload/"+reserved, bytes.NewReader(bytes.Repeat([]byte("y"), 1<<18))), 200, "")
	w.expect(w.get(thumbnails+image+"?width=128&height=128&method=crop"), 200, "")
	w.expect(w.get(downloads+other.name+"/large"), 200, "")
}

// fill writes to a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, zeros{}); err == nil {
		t.Fatal("the disk has no end")
	}
}
