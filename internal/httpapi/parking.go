package httpapi

import (
	"errors"
	"net"
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
	// againWithin is how long those who were answered where they are parked have for
	// asking again, before their connections go back to the http.Server. Who asks for
	// something else meanwhile waits that long.
	againWithin = 5 * time.Millisecond
	// answerWithin is how long the socket of a parked connection may take for an answer
	// if it can't be told to take it at once.
	answerWithin = 10 * time.Millisecond
)

// Parking holds connections whose requests wait. A waiting handler costs a
// goroutine, its stack, and the connection's buffers, some 25 KiB; a parked request
// is the connection and the request's bytes. To go on, the connection is accepted
// again, as that of a client which has just sent the request.
//
// A request whose time is up is answered where it is parked, and if the client then
// sends the same again, as it does while nothing happens, it stays: such a poll costs a
// write, a read, and a comparison.
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
	buffer := make([]byte, maxReplay)
	tick := time.NewTicker(dueEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		var now time.Time
		select {
		case now = <-tick.C:
		case <-p.closed:
			return
		}
		p.expire(now, buffer)
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

// expire ends the waiting of those whose time is up.
func (p *Parking) expire(now time.Time, buffer []byte) {
	var answered []*Parked
	for _, k := range p.listDue(now) {
		body := k.nothingNew()
		if body == nil {
			k.resume(now)
		} else if k.answer(body) {
			answered = append(answered, k)
		}
	}
	if len(answered) == 0 {
		return
	}
	time.Sleep(againWithin)
	for _, k := range answered {
		k.next(buffer)
	}
}

func (p *Parking) listDue(now time.Time) (list []*Parked) {
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
	var b [1]byte
	n, err := receive(c, b[:], syscall.MSG_PEEK)
	return err != nil || n == 0
}

// nothingSent is how many bytes receive says there are if it can't tell, or if the
// client hasn't sent any.
const nothingSent = -1

// receive reads what has arrived, without waiting; nothing at all is the end.
func receive(c net.Conn, b []byte, flags int) (n int, err error) {
	sc, ok := c.(syscall.Conn)
	if !ok { // TLS, or not of the network
		return nothingSent, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failed = syscall.Recvfrom(int(fd), b, flags|syscall.MSG_DONTWAIT)
		return true
	})
	if failed == syscall.EAGAIN || failed == syscall.EINTR {
		return nothingSent, nil
	}
	return n, errors.Join(err, failed)
}

// errNoRoom is returned for a socket that doesn't take an answer at once.
var errNoRoom = errors.New("the client doesn't read what it is sent")

// send writes all of b without waiting for the client.
func send(c net.Conn, b []byte) error {
	sc, ok := c.(syscall.Conn)
	if !ok { // TLS, or not of the network
		if err := c.SetWriteDeadline(time.Now().Add(answerWithin)); err != nil {
			return err
		}
		_, err := c.Write(b)
		return errors.Join(err, c.SetWriteDeadline(time.Time{}))
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	n, failed := 0, error(nil)
	err = raw.Write(func(fd uintptr) bool {
		n, failed = syscall.Write(int(fd), b)
		return true
	})
	if err == nil && failed == nil && n < len(b) {
		err = errNoRoom
	}
	return errors.Join(err, failed)
}

// add has k wait, or hangs up if the parking is closed.
func (p *Parking) add(k *Parked, until time.Time) {
	p.mu.Lock()
	p.put(k, until)
	p.mu.Unlock()
	select {
	case <-p.closed:
		k.hangUp()
	default:
	}
}

func (p *Parking) put(k *Parked, until time.Time) {
	p.parked[k] = struct{}{}
	k.until = until
	slot := slotOf(until)
	if p.due[slot] == nil {
		p.due[slot] = map[*Parked]struct{}{}
	}
	p.due[slot][k] = struct{}{}
	parkedRequests.Inc()
}

// remove reports until when k was to wait, and false if it doesn't.
func (p *Parking) remove(k *Parked) (until time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.parked[k]; !ok {
		return until, false
	}
	delete(p.parked, k)
	slot := slotOf(k.until)
	if delete(p.due[slot], k); len(p.due[slot]) == 0 {
		delete(p.due, slot)
	}
	parkedRequests.Dec()
	return k.until, true
}
