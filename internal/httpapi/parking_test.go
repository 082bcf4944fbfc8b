package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// parkingServer serves /wait, which parks until the deadline that it is asked
// with, and tells of every parked request.
func parkingServer(t *testing.T) (addr string, parked chan *Parked, ended chan struct{}, p *Parking) {
	parked, ended = make(chan *Parked, 10), make(chan struct{}, 10)
	s := NewServer(Options{})
	s.Register([]string{""}, []Route{{Method: "GET", Path: "/wait", Auth: AuthNone, Handle: func(r *http.Request, _ *Requester) (any, error) {
		if !ResumedUntil(r).IsZero() {
			return map[string]any{"resumed": r.URL.Query().Get("n")}, nil
		}
		d, err := time.ParseDuration(r.URL.Query().Get("for"))
		if err != nil {
			return nil, err
		}
		wait := Wait{Until: time.Now().Add(d), Ended: func() { ended <- struct{}{} }}
		if answer := r.URL.Query().Get("answer"); answer != "" {
			wait.Expired = func() []byte { return []byte(answer) }
		}
		k, err := Park(r, wait)
		parked <- k
		return nil, err
	}}})
	addr, p = serveParking(t, s)
	return addr, parked, ended, p
}

func serveParking(t *testing.T, s *Server) (addr string, p *Parking) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = NewParking(l.Addr())
	server := &http.Server{Handler: s, ConnContext: p.ConnContext}
	go server.Serve(l)
	go server.Serve(p)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String(), p
}

// TestParkedRequests has one connection wait again and again: until it is resumed,
// until its time is up, and with the next request already sent.
func TestParkedRequests(t *testing.T) {
	addr, parked, ended, p := parkingServer(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	ask := func(n int, d string) {
		fmt.Fprintf(c, "GET /wait?n=%d&for=%s HTTP/1.1\r\nHost: x\r\n\r\n", n, d)
	}
	hear := func(n int) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if want := fmt.Sprintf(`{"resumed":"%d"}`, n); err != nil || string(body) != want {
			t.Fatalf("got %s (%v), want %s", body, err, want)
		}
	}
	ask(1, "1h")
	(<-parked).Resume()
	hear(1)
	ask(2, "600ms")
	<-parked
	hear(2)
	ask(3, "1h")
	ask(4, "1h")
	k := <-parked
	k.Resume()
	k.Resume()
	hear(3)
	<-parked
	p.ResumeAll()
	hear(4)
	fmt.Fprint(c, `GET /wait?answer={"resumed":"5"}&for=600ms HTTP/1.1`+"\r\nHost: x\r\n\r\n")
	ask(6, "600ms") // before the answer
	<-parked
	hear(5)
	<-parked
	hear(6)
	if n := len(ended); n != 6 {
		t.Errorf("told of the end of %d requests", n)
	}
}

// TestParkedHangUp notices that a client went away, and hangs up on those that
// wait when the server ends.
func TestParkedHangUp(t *testing.T) {
	addr, parked, ended, p := parkingServer(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "GET /wait?for=1h HTTP/1.1\r\nHost: x\r\n\r\n")
	k := <-parked
	if hungUp(k.conn) {
		t.Error("a waiting client is taken for gone")
	}
	c.Close()
	for deadline := time.Now().Add(10 * time.Second); !hungUp(k.conn); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a client that went away isn't noticed")
		}
	}
	k.hangUp()
	<-ended
	if c, err = net.Dial("tcp", addr); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /wait?for=1h HTTP/1.1\r\nHost: x\r\n\r\n")
	<-parked
	p.Close()
	<-ended
	if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

// TestParkedAgain has a client ask again and again: it is answered and parked without
// another look at its token, unless the session has ended.
func TestParkedAgain(t *testing.T) {
	u := &Requester{UserID: "@a:x", GoodUntil: time.Now().Add(time.Hour)}
	var looked, again, waits, ends atomic.Int32
	s := NewServer(Options{Authenticate: func(context.Context, string) (*Requester, error) {
		looked.Add(1)
		return u, nil
	}})
	s.Register([]string{""}, []Route{{Method: "GET", Path: "/wait", Handle: func(r *http.Request, _ *Requester) (any, error) {
		_, err := Park(r, Wait{
			Until: time.Now(), Expired: func() []byte { return []byte(`{}`) },
			Parked: func(*Parked) { waits.Add(1) }, Ended: func() { ends.Add(1) },
			Again: func(r *http.Request) (time.Duration, bool) {
				if again.Add(1); r != nil && r.URL.Query().Get("n") == "" {
					t.Errorf("the next request is %v", r.URL)
				}
				return time.Millisecond, true
			},
		})
		return nil, err
	}}})
	addr, _ := serveParking(t, s)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	asked := int32(0)
	ask := func() {
		t.Helper()
		asked++
		c.SetDeadline(time.Now().Add(20 * time.Second))
		// Every other request is the same as the one before.
		fmt.Fprintf(c, "GET /wait?n=%d HTTP/1.1\r\nUser-Agent: u\r\nHost: x\r\nauthorization: Bearer t\r\nAccept: */*\r\n\r\n", asked/2)
		res, err := http.ReadResponse(answers, nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("answered %v (%v)", res, err)
		}
		io.Copy(io.Discard, res.Body)
		if looked.Load()+again.Load() != asked || waits.Load() != asked || ends.Load() != asked {
			t.Fatalf("of %d requests %d were looked at, %d were known, %d waited, %d no longer wait",
				asked, looked.Load(), again.Load(), waits.Load(), ends.Load())
		}
	}
	// On a busy machine a client may ask later than it is waited for.
	for again.Load() < 4 {
		if ask(); asked == 30 {
			t.Fatal("a request that comes again is never known")
		}
	}
	u.Retire()
	before := looked.Load()
	if ask(); looked.Load() != before+1 {
		t.Error("a session that has ended wasn't looked at")
	}
}
