package mediaapi

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxStep is how much is sent between two looks at the clock, in bytes: a client that
// doesn't take so much within maxStall is hung up on.
const maxStep = 128 << 10

// movingAnswer writes an answer as long as its reader takes it. A slow one holds its
// connection and a buffer, one that has stopped not even that for long.
type movingAnswer struct {
	http.ResponseWriter
	control *http.ResponseController
	err     error // of the first write that failed
}

func newMovingAnswer(w http.ResponseWriter) *movingAnswer {
	return &movingAnswer{ResponseWriter: w, control: http.NewResponseController(w)}
}

// step gives the reader time for the next piece.
func (m *movingAnswer) step() error {
	if m.err == nil {
		m.err = m.control.SetWriteDeadline(time.Now().Add(maxStall))
	}
	return m.err
}

func (m *movingAnswer) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		if err = m.step(); err != nil {
			break
		}
		var written int
		written, err = m.ResponseWriter.Write(b[:min(len(b), maxStep)])
		n += written
		b = b[written:]
		m.err = err
	}
	return n, err
}

// ReadFrom lets the system send a file without copying it through this process, which
// works for a file behind no more than one limit.
func (m *movingAnswer) ReadFrom(src io.Reader) (int64, error) {
	left := int64(1<<63 - 1)
	limited, ok := src.(*io.LimitedReader)
	if ok {
		src, left = limited.R, limited.N
	}
	var sent int64
	for left > 0 {
		if err := m.step(); err != nil {
			return sent, err
		}
		piece := min(left, maxStep)
		n, err := io.Copy(m.ResponseWriter, &io.LimitedReader{R: src, N: piece})
		sent += n
		left -= n
		if limited != nil {
			limited.N = left
		}
		if m.err = err; err != nil || n < piece {
			return sent, err
		}
	}
	return sent, nil
}

// finish sends what is still in buffers and lifts the deadline, which would otherwise hit
// the next answer on this connection. After a failure it stays: nothing more is sent.
func (m *movingAnswer) finish() error {
	if m.err != nil {
		return nil // the reader is gone
	}
	if err := m.control.Flush(); err != nil {
		return nil
	}
	if err := m.control.SetWriteDeadline(time.Time{}); err != nil {
		return fmt.Errorf("lifting an answer's deadline: %w", err)
	}
	return nil
}
