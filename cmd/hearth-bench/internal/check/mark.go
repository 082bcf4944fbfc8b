// Package check tells whether a homeserver kept its promise: every event that it
// acknowledged is seen by every reader, once, in one order that all agree on.
package check

import (
	"bytes"
	"strconv"
	"sync/atomic"
	"time"
)

// Mark is what the tool writes into the body of a message in order to know it
// again wherever it turns up.
type Mark struct {
	Run    uint64 // tells apart the measurements that used the same room
	Sender int
	Seq    int           // counts a sender's messages from 0
	Sent   time.Duration // since the tool started
}

// bodyLength is how long a marked body is, in bytes: a plain chat message.
const bodyLength = 100

var (
	started = time.Now()
	lastRun atomic.Uint64
)

// Now is the time that goes into a Mark.
func Now() time.Duration { return time.Since(started) }

// NewRun returns a number for Mark.Run that no other measurement has, in this
// process or an earlier one.
func NewRun() uint64 {
	lastRun.CompareAndSwap(0, uint64(started.UnixNano()))
	return lastRun.Add(1)
}

// AppendBody appends the message body that carries the mark.
func (m Mark) AppendBody(b []byte) []byte {
	at := len(b)
	b = append(b, "hearth-bench "...)
	for _, n := range [...]uint64{m.Run, uint64(m.Sender), uint64(m.Seq), uint64(m.Sent)} {
		b = strconv.AppendUint(b, n, 10)
		b = append(b, ' ')
	}
	for len(b) < at+bodyLength {
		b = append(b, '.')
	}
	return b
}

// ParseBody finds the mark in a message body.
func ParseBody(body []byte) (m Mark, ok bool) {
	rest, ok := bytes.CutPrefix(body, []byte("hearth-bench "))
	if !ok {
		return m, false
	}
	var n [4]uint64
	for i := range n {
		end := bytes.IndexByte(rest, ' ')
		if end <= 0 {
			return m, false
		}
		for _, c := range rest[:end] {
			if c < '0' || c > '9' {
				return m, false
			}
			n[i] = n[i]*10 + uint64(c-'0')
		}
		rest = rest[end+1:]
	}
	return Mark{Run: n[0], Sender: int(n[1]), Seq: int(n[2]), Sent: time.Duration(n[3])}, true
}
