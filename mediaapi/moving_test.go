package mediaapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestSlowReaders: clients that stop reading cost a buffer each, however large the file,
// and are hung up on; one that keeps taking something gets all, and its connection
// is good for more.
func TestSlowReaders(t *testing.T) {
	usual := maxStall
	t.Cleanup(func() { maxStall = usual }) // when the server is closed: cleanups run backwards
	maxStall = 5 * time.Second
	w := newWorld(t, 1<<30)
	const size, readers = 32 << 20, 200
	path := w.mediaPath(w.expect(w.do("POST", "/_matrix/media/v3/upload", io.LimitReader(zeros{}, size)), 200, ""))

	var idle, busy runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&idle)
	var conns []net.Conn
	for range readers {
		conn, in := w.ask(path)
		defer conn.Close()
		expectStatus(t, in, size)
		conns = append(conns, conn)
	}
	runtime.GC()
	runtime.ReadMemStats(&busy)
	if each := (int64(busy.HeapInuse+busy.StackInuse) - int64(idle.HeapInuse+idle.StackInuse)) / readers; each > 128<<10 {
		t.Errorf("a reader that has stopped takes %d bytes", each)
	}

	conn, in := w.ask(path) // as slow, but not stopped
	defer conn.Close()
	answer := expectStatus(t, in, size)
	began := time.Now()
	for left := size; left > 0; {
		n, err := io.CopyN(io.Discard, answer.Body, int64(min(left, size/8)))
		if err != nil {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		left -= int(n)
		time.Sleep(maxStall / 6)
	}
	if took := time.Since(began); took < maxStall {
		t.Errorf("read in %v, too fast to tell", took)
	}
	fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\nRange: bytes=1-3\r\n\r\n", downloads, path)
	if again, err := http.ReadResponse(in, nil); err != nil || again.StatusCode != 206 {
		t.Errorf("the next answer: %v %v", again, err)
	}

	for _, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, conn)
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() || n > size/2 {
			t.Fatalf("a reader that had stopped got %d bytes more: %v", n, err)
		}
	}
}

// ask requests media on a connection of its own, whose client takes little at once.
func (w *world) ask(path string) (net.Conn, *bufio.Reader) {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		w.t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\n\r\n", downloads, path)
	return conn, bufio.NewReaderSize(conn, 512)
}

func expectStatus(t *testing.T, in *bufio.Reader, size int64) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 || res.ContentLength != size {
		t.Fatalf("got %d with %d bytes", res.StatusCode, res.ContentLength)
	}
	return res
}
