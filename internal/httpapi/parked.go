package httpapi

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Wait is what a parked request waits for.
type Wait struct {
	// Until is when the request is answered at the latest.
	Until time.Time
	// Expired, if set, is called at Until and returns the JSON with which the request is
	// to be answered then; nil has it begin anew. It must not block.
	Expired func() []byte
	// Ended is called when the request no longer waits.
	Ended func()
	// Parked, if set, is called when the request waits and may be resumed.
	Parked func(*Parked)
	// Again, if set, is called when the client was answered by Expired and has sent the
	// next request for the same path with the same access token; r is nil if it is the very
	// same request. It returns for how long that is to wait, and false if it is to begin
	// as any other. It must not block.
	Again func(r *http.Request) (time.Duration, bool)
}

// Parked is a request that waits without a goroutine. Who takes it out of its
// parking has it for themselves until it is added again.
type Parked struct {
	wait    Wait
	parking *Parking
	conn    net.Conn
	// rest is what the client has sent after the request.
	request, rest []byte
	until         time.Time // guarded by the parking's mu
	since         time.Time
	// What the request was found to be.
	server        *Server
	metrics       *routeMetrics
	requester     *Requester
	path, token   string
	ip, userAgent string
}

// Park takes the request from its handler, which must return at once with the
// error that Park returns. The request begins anew when Resume is called, and is
// answered or begins anew when its time is up; it ends as well when the client has
// gone away. Without an error the request can't be parked, and the handler has to
// wait by itself.
func Park(r *http.Request, wait Wait) (*Parked, error) {
	w, ok := r.Context().Value(requestKey{}).(*response)
	if !ok || !repeatable(r, w.body) {
		return nil, nil
	}
	at, ok := r.Context().Value(parkingKey{}).(*place)
	if !ok {
		return nil, nil
	}
	request := requestText(r, w.body)
	if len(request) > maxReplay {
		return nil, nil
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil
	}
	k := &Parked{wait: wait, parking: at.parking, conn: conn, request: request, since: time.Now(),
		server: w.server, metrics: w.metrics, requester: w.requester, path: r.URL.Path, token: AccessToken(r),
		ip: w.server.ClientIP(r), userAgent: r.UserAgent()}
	if n := rw.Reader.Buffered(); n > 0 { // the client has sent its next request already
		rest, _ := rw.Reader.Peek(n)
		k.rest = bytes.Clone(rest)
	}
	if resumed, ok := conn.(*resumedConn); ok {
		k.conn, k.rest = resumed.Conn, append(k.rest, resumed.replay...)
	}
	k.park(wait.Until)
	return k, errParked
}

// park has the request wait.
func (k *Parked) park(until time.Time) {
	k.parking.add(k, until)
	if k.wait.Parked != nil {
		k.wait.Parked(k)
	}
}

// repeatable reports whether the request is nothing but its line, its headers, and a
// body that is known.
func repeatable(r *http.Request, body []byte) bool {
	return r.ProtoMajor == 1 && (r.Method == http.MethodGet || r.Method == http.MethodPost) && r.ContentLength == int64(len(body)) &&
		len(r.TransferEncoding) == 0 && !r.Close && r.Header.Get("Expect") == ""
}

// requestText writes a request as the client might have sent it.
func requestText(r *http.Request, body []byte) []byte {
	var b bytes.Buffer
	io.WriteString(&b, r.Method+" "+r.RequestURI+" HTTP/1.1\r\nHost: "+r.Host+"\r\n")
	r.Header.Write(&b)
	io.WriteString(&b, "\r\n")
	b.Write(body)
	return bytes.Clone(b.Bytes())
}

// take ends the waiting; false if it has ended before.
func (k *Parked) take() (until time.Time, ok bool) {
	if until, ok = k.parking.remove(k); ok {
		k.wait.Ended()
	}
	return until, ok
}

// Resume has the request begin anew. It may be called more than once.
func (k *Parked) Resume() {
	if until, ok := k.take(); ok {
		k.beginAnew(until)
	}
}

// resume has the request begin anew as one whose time is up at until.
func (k *Parked) resume(until time.Time) {
	if _, ok := k.take(); ok {
		k.beginAnew(until)
	}
}

func (k *Parked) beginAnew(until time.Time) {
	k.giveBack(&resumedConn{Conn: k.conn, replay: append(k.request, k.rest...), until: until})
}

func (k *Parked) nothingNew() []byte {
	if k.wait.Expired == nil {
		return nil
	}
	return k.wait.Expired()
}

// Answer ends the waiting with an answer, unless it has ended.
func (k *Parked) Answer(body []byte) {
	if k.answer(body) {
		k.giveBack(&resumedConn{Conn: k.conn, replay: k.rest, answered: true})
	}
}

// answer ends the waiting with an answer. It reports whether the client is still
// there to ask for more.
func (k *Parked) answer(body []byte) bool {
	if _, ok := k.take(); !ok {
		return false
	}
	// Of a client that takes what it is sent the socket has room; the others are hung up on.
	if err := send(k.conn, appendAnswer(make([]byte, 0, 512), body)); err != nil {
		k.conn.Close()
		return false
	}
	k.metrics.observe(http.StatusOK, time.Since(k.since))
	return true
}

// next looks at what the client has sent since it was answered. What can wait where the
// request before waited is parked again; anything else is for the http.Server.
func (k *Parked) next(buffer []byte) {
	if len(k.rest) > 0 {
		k.giveBack(&resumedConn{Conn: k.conn, replay: k.rest, answered: true})
		return
	}
	n, err := receive(k.conn, buffer, 0)
	switch {
	case n == nothingSent:
		k.giveBack(&resumedConn{Conn: k.conn, answered: true})
	case n == 0 || err != nil:
		k.conn.Close()
	case k.again(buffer[:n]):
	default:
		k.giveBack(&resumedConn{Conn: k.conn, replay: bytes.Clone(buffer[:n])})
	}
}

// again parks the next request, if its sender is still who they were and the handler
// agrees. Mostly it is the same as before; only what differs has to be taken apart.
func (k *Parked) again(sent []byte) bool {
	now := time.Now()
	if k.wait.Again == nil || k.requester == nil || !k.requester.current(now) {
		return false
	}
	var r *http.Request
	if !bytes.Equal(sent, k.request) {
		if r = k.successor(sent); r == nil {
			return false
		}
	}
	wait, ok := k.wait.Again(r)
	if !ok {
		return false
	}
	if r != nil {
		k.request, k.ip, k.userAgent = bytes.Clone(sent), k.server.ClientIP(r), r.UserAgent()
	}
	if seen := k.server.o.Seen; seen != nil && k.requester.seenAnew(now) {
		seen(k.requester, k.ip, k.userAgent)
	}
	k.since = now
	k.park(now.Add(wait))
	return true
}

// successor is the request that was sent if it is one for the same path by the same
// session, and nothing else, otherwise nil.
func (k *Parked) successor(sent []byte) *http.Request {
	text := bytes.NewReader(sent)
	head := bufio.NewReaderSize(text, 1024)
	r, err := http.ReadRequest(head)
	if err != nil || head.Buffered()+text.Len() > 0 || !repeatable(r, nil) || r.URL.Path != k.path || AccessToken(r) != k.token {
		return nil
	}
	r.RemoteAddr = k.conn.RemoteAddr().String()
	return r
}

func (k *Parked) giveBack(c *resumedConn) {
	select {
	case k.parking.back <- c:
	case <-k.parking.closed:
		k.conn.Close()
	}
}

func (k *Parked) hangUp() {
	if _, ok := k.take(); ok {
		k.conn.Close()
	}
}

// answerHead is how the answers of parked requests begin: with the headers that
// every answer has.
var answerHead = func() []byte {
	h := http.Header{"Content-Type": jsonType}
	setCORS(h)
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	h.Write(&b)
	return b.Bytes()
}()

// appendAnswer appends a whole answer to b.
func appendAnswer(b, body []byte) []byte {
	b = append(append(b, answerHead...), "Date: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(body)), 10)
	return append(append(b, "\r\n\r\n"...), body...)
}
