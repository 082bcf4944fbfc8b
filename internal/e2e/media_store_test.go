package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// TestMediaMove has an administrator move all files into an object storage, and back.
func TestMediaMove(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("media"); err != nil {
		t.Fatal(err)
	}
	storage := httptest.NewServer(gofakes3.New(backend).Server())
	defer storage.Close()
	s := startServer(t, "media.s3.endpoint="+strings.TrimPrefix(storage.URL, "http://"), "media.s3.access_key=key", "media.s3.secret_key=secret", "media.s3.plain_http=true")
	alice := register(t, s.base, "alice")
	upload := func(content string) string {
		return strings.TrimPrefix(alice.ok(t, "POST", "/_matrix/media/v3/upload", []byte(content)).Get("content_uri").Str, "mxc://")
	}
	shared := map[string]string{upload("one"): "one", upload("two"): "two"}
	check := func(onDisk int) {
		t.Helper()
		for path, content := range shared {
			if a := alice.do(t, "GET", "/_matrix/client/v1/media/download/"+path, nil); a.status != 200 || string(a.body) != content {
				t.Errorf("got %d %q, want %q", a.status, a.body, content)
			}
		}
		if n := s.mediaFiles("files"); n != onDisk {
			t.Errorf("%d files are on the disk, want %d", n, onDisk)
		}
	}
	config := func(from, to string) {
		t.Helper()
		text, err := os.ReadFile(s.config)
		if err == nil {
			err = os.WriteFile(s.config, bytes.Replace(text, []byte(from), []byte(to), 1), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(want string, args ...string) {
		t.Helper()
		out, stderr, code := s.run("", append(append([]string{"media", "copy"}, args...), "--config", s.config)...)
		if (code == 0) != (want != "") || !strings.Contains(out, want) {
			t.Errorf("%v: %d %s %s", args, code, out, stderr)
		}
	}
	const none, named = `bucket: ""`, `bucket: "media"`
	run("", "--to", "s3") // no bucket is named
	config(none, named)
	run("Copied 2 files", "--to", "s3") // while the server runs
	run("", "--to", "s3", "--move")     // which it mustn't for this
	check(2)
	s.stop()
	run("Copied 0 files, of 0.0 MiB; 2 were there already", "--to", "s3", "--move")
	s.start()
	check(0)
	shared[upload("three")] = "three"
	s.stop()
	run("Copied 3 files", "--to", "disk", "--move")
	config(named, none)
	s.start()
	check(3)
}

// TestUploadCutOff kills the server while it receives a file: nothing of that is left when it is back.
func TestUploadCutOff(t *testing.T) {
	s := startServer(t)
	alice := register(t, s.base, "alice")
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.direct, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000000\r\n\r\n%s",
		alice.token, strings.Repeat("x", 500_000))
	waitFor(t, "half of the file is there", func() bool { return s.mediaFiles("tmp") == 1 })
	s.kill()
	s.start()
	if tmp, files := s.mediaFiles("tmp"), s.mediaFiles("files"); tmp != 0 || files != 0 {
		t.Errorf("%d unfinished files are left, %d whole ones", tmp, files)
	}
}

// mediaFiles counts what is in a folder of the media store.
func (s *server) mediaFiles(folder string) (n int) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dataDir, "media", folder), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
