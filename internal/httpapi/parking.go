package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// errParked is returned by a handler whose request was parked: nothing is to be
// answered now.
var errParked = errors.New("the request is parked")

const (
	// maxReplay bounds the requests that are parked, in bytes.
	maxReplay = 8 << 10
	// dueEvery is how often requests whose time is up are resumed, up to that much
	// early: together, because waking a sleeping process costs more than a request.
	dueEvery = time.Second
	// hangUpCheck is how often, in multiples of dueEvery, parked connections are looked
	// at for clients that went away.
	hangUpCheck = 20
	// answerWithin is how long the socket of a parked connection may take for an answer.
	answerWithin = 10 * time.Millisecond
	// nextRequestWithin is how long a connection may be idle after such an answer.
	nextRequestWithin = 2 * time.Minute
)

// Parking holds connections whose requests wait. A waiting handler costs a
// goroutine, its stack, and the connection's buffers, some 25 KiB; a parked request
// is the connection and the request's bytes. To go on, the connection is accepted
// again, as that of a client which has just sent the request.
//
// It is a net.Listener that the http.Server must serve beside its own, with
// ConnContext.
type Parking struct {
	addr   net.Addr
	back   chan net.Conn
	closed chan struct{}

	mu     sync.Mutex
	parked map[*Parked]struct{}
	// due has the parked requests by when their time is up, in multiples of dueEvery
	// since 1970.
	due map[int64]map[*Parked]struct{}
}

// NewParking returns a parking for connections to addr. Close ends it.
func NewParking(addr net.Addr) *Parking {
	p := &Parking{addr: addr, back: make(chan net.Conn, 1024), closed: make(chan struct{}), parked: map[*Parked]struct{}{}, due: map[int64]map[*Parked]struct{}{}}
	go p.watch()
	return p
}

// Accept implements net.Listener.
func (p *Parking) Accept() (net.Conn, error) {
	select {
	case c := <-p.back:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (p *Parking) Addr() net.Addr { return p.addr }

// Close implements net.Listener: what is still parked is hung up.
func (p *Parking) Close() error {
	p.mu.Lock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	p.mu.Unlock()
	for _, k := range p.list() {
		k.hangUp()
	}
	return nil
}

// ResumeAll has every parked request go on, and returns once they were accepted
// or a moment has passed.
func (p *Parking) ResumeAll() {
	for _, k := range p.list() {
		k.Resume()
	}
	for deadline := time.Now().Add(time.Second); len(p.back) > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

func (p *Parking) list() []*Parked {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*Parked, 0, len(p.parked))
	for k := range p.parked {
		list = append(list, k)
	}
	return list
}

// watch resumes the requests whose time is up, and hangs up on clients that went
// away. Nothing reads from a parked connection, so they have to be asked.
func (p *Parking) watch() {
	tick := time.NewTicker(dueEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		var now time.Time
		select {
		case now = <-tick.C:
		case <-p.closed:
			return
		}
		for _, k := range p.takeDue(now) {
			if !k.expire() {
				k.resume(now)
			}
		}
		if n%hangUpCheck != 0 {
			continue
		}
		for _, k := range p.list() {
			if hungUp(k.conn) {
				k.hangUp()
			}
		}
	}
}

func (p *Parking) takeDue(now time.Time) (list []*Parked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, due := range p.due {
		if at > slotOf(now) {
			continue
		}
		for k := range due {
			list = append(list, k)
		}
	}
	return list
}

func slotOf(t time.Time) int64 { return t.UnixMilli() / dueEvery.Milliseconds() }

// hungUp looks, without taking or waiting for data, whether the other side closed.
func hungUp(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = err == nil && n == 0 || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
		return true
	})
	return gone || err != nil
}

type parkingKey struct{}

// place is what a connection's context knows of the parking.
type place struct {
	parking *Parking
	conn    *resumedConn // nil for a connection that wasn't parked before
}

// ConnContext is the http.Server's.
func (p *Parking) ConnContext(ctx context.Context, c net.Conn) context.Context {
	resumed, _ := c.(*resumedConn)
	return context.WithValue(ctx, parkingKey{}, &place{p, resumed})
}

// resumedConn is a connection that was parked: it first gives the request that
// waited, unless that has been answered, then what the client sends.
type resumedConn struct {
	net.Conn
	replay []byte
	until  time.Time // zero once the request was taken
	// answered is whether the client hasn't asked for anything yet since its answer.
	answered bool
}

// SetReadDeadline gives a client that was answered as long for its next request as
// any other, though the http.Server takes it for one that has just connected.
func (c *resumedConn) SetReadDeadline(t time.Time) error {
	if c.answered && !t.IsZero() {
		c.answered, t = false, t.Add(nextRequestWithin)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *resumedConn) Read(b []byte) (int, error) {
	if len(c.replay) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.replay)
	if c.replay = c.replay[n:]; len(c.replay) == 0 {
		c.replay = nil
	}
	return n, nil
}

// takeResumed returns until when the request was parked, the zero time if it
// wasn't.
func takeResumed(ctx context.Context) (until time.Time) {
	if at, ok := ctx.Value(parkingKey{}).(*place); ok && at.conn != nil {
		until, at.conn.until = at.conn.until, time.Time{}
	}
	return until
}

// ResumedUntil returns until when the request was to wait if it has been parked
// before, otherwise the zero time.
func ResumedUntil(r *http.Request) time.Time {
	if w, ok := r.Context().Value(requestKey{}).(*response); ok {
		return w.resumedUntil
	}
	return time.Time{}
}

// Wait is what a parked request waits for.
type Wait struct {
	// Until is when the request is answered at the latest.
	Until time.Time
	// Expired, if set, is called at Until and returns the JSON with which the request is
	// to be answered then; nil has it begin anew. It must not block.
	Expired func() []byte
	// Ended is called when the request no longer waits.
	Ended func()
}

// Parked is a request that waits without a goroutine.
type Parked struct {
	Wait
	parking *Parking
	conn    net.Conn
	// rest is what the client has sent after the request.
	request, rest []byte
	since         time.Time
	metrics       *routeMetrics
}

// Park takes the request from its handler, which must return at once with the
// error that Park returns. The request begins anew when Resume is called, and is
// answered or begins anew when its time is up; it ends as well when the client has
// gone away. Without an error the request can't be parked, and the handler has to
// wait by itself.
func Park(r *http.Request, wait Wait) (*Parked, error) {
	w, ok := r.Context().Value(requestKey{}).(*response)
	if !ok || r.ProtoMajor != 1 || r.Method != http.MethodGet || r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.Close {
		return nil, nil
	}
	at, ok := r.Context().Value(parkingKey{}).(*place)
	if !ok {
		return nil, nil
	}
	request := requestText(r)
	if len(request) > maxReplay {
		return nil, nil
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil
	}
	k := &Parked{Wait: wait, parking: at.parking, conn: conn, request: request, since: time.Now(), metrics: w.metrics}
	if n := rw.Reader.Buffered(); n > 0 { // the client has sent its next request already
		rest, _ := rw.Reader.Peek(n)
		k.rest = bytes.Clone(rest)
	}
	if resumed, ok := conn.(*resumedConn); ok {
		k.conn, k.rest = resumed.Conn, append(k.rest, resumed.replay...)
	}
	p := at.parking
	p.add(k)
	select {
	case <-p.closed:
		k.hangUp()
	default:
	}
	return k, errParked
}

// requestText writes a request without a body as the client sent it.
func requestText(r *http.Request) []byte {
	var b bytes.Buffer
	io.WriteString(&b, r.Method+" "+r.RequestURI+" HTTP/1.1\r\nHost: "+r.Host+"\r\n")
	r.Header.Write(&b)
	io.WriteString(&b, "\r\n")
	return bytes.Clone(b.Bytes())
}

func (p *Parking) add(k *Parked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked[k] = struct{}{}
	slot := slotOf(k.Until)
	if p.due[slot] == nil {
		p.due[slot] = map[*Parked]struct{}{}
	}
	p.due[slot][k] = struct{}{}
	parkedRequests.Inc()
}

func (p *Parking) remove(k *Parked) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.parked[k]; !ok {
		return false
	}
	delete(p.parked, k)
	slot := slotOf(k.Until)
	if delete(p.due[slot], k); len(p.due[slot]) == 0 {
		delete(p.due, slot)
	}
	parkedRequests.Dec()
	return true
}

// take ends the parking; false if it has ended before.
func (k *Parked) take() bool {
	if !k.parking.remove(k) {
		return false
	}
	k.Ended()
	return true
}

// Resume has the request begin anew. It may be called more than once.
func (k *Parked) Resume() { k.resume(k.Until) }

func (k *Parked) resume(until time.Time) {
	if k.take() {
		k.giveBack(&resumedConn{Conn: k.conn, replay: append(k.request, k.rest...), until: until})
	}
}

// expire answers a request whose time is up, unless it has to begin anew.
func (k *Parked) expire() bool {
	if k.Expired == nil {
		return false
	}
	body := k.Expired()
	if body == nil {
		return false
	}
	if !k.take() {
		return true
	}
	// Of a client that takes what it is sent the socket has room; the others are hung up on.
	err := k.conn.SetWriteDeadline(time.Now().Add(answerWithin))
	if err == nil {
		_, err = k.conn.Write(appendAnswer(make([]byte, 0, 512), body))
	}
	if err == nil {
		err = k.conn.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		k.conn.Close()
		return true
	}
	k.metrics.observe(http.StatusOK, time.Since(k.since))
	k.giveBack(&resumedConn{Conn: k.conn, replay: k.rest, answered: true})
	return true
}

func (k *Parked) giveBack(c *resumedConn) {
	select {
	case k.parking.back <- c:
	case <-k.parking.closed:
		k.conn.Close()
	}
}

func (k *Parked) hangUp() {
	if k.take() {
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
