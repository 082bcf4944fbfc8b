package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"hearth/internal/httpapi"
)

const (
	// maxReceiving bounds the transactions of a server that are worked on at the same time: it
	// should send the next one only when one was answered, but may have ceased to wait.
	maxReceiving = 8
	// maxWhole bounds the answers that hold a room's whole state and that a server is being sent,
	// maxWaiting its requests for more of them that wait, and maxWholeStep how much of one, in bytes, it must take within maxWholeStall.
	maxWhole      = 3
	maxWaiting    = 32
	maxWholeStep  = 1 << 20
	maxWholeStall = 30 * time.Second
)

// turns bound what each server is having done at the same time.
type turns struct {
	most int
	// waiting bounds those that wait for their turn; who comes after them gets M_LIMIT_EXCEEDED.
	waiting int
	mu      sync.Mutex
	of      map[string]*turn
}

type turn struct {
	users int
	taken chan struct{}
}

// begin notes that one more thing is done for a server; what it returns notes the end.
func (t *turns) begin(ctx context.Context, server string) (end func(), err error) {
	t.mu.Lock()
	if t.of == nil {
		t.of = map[string]*turn{}
	}
	its := t.of[server]
	if its == nil {
		its = &turn{taken: make(chan struct{}, t.most)}
		t.of[server] = its
	}
	crowded := its.users >= t.most+t.waiting
	its.users++
	t.mu.Unlock()
	if crowded {
		t.leave(server, its)
		return nil, httpapi.LimitExceeded(time.Second)
	}
	select {
	case its.taken <- struct{}{}:
		return func() { <-its.taken; t.leave(server, its) }, nil
	case <-ctx.Done():
		t.leave(server, its)
		return nil, ctx.Err()
	}
}

func (t *turns) leave(server string, its *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if its.users--; its.users == 0 {
		delete(t.of, server)
	}
}

// inTurn has a server wait that has too many of these requests answered already: their answers
// may be large, and stay in memory until they have been taken.
func (a *API) inTurn(handle signedHandler) signedHandler {
	return func(r *http.Request, origin string, body json.RawMessage) (any, error) {
		end, err := a.whole.begin(r.Context(), origin)
		if err != nil {
			return nil, err
		}
		answer, err := handle(r, origin, body)
		raw, ok := answer.(httpapi.Raw)
		if err != nil || !ok {
			end()
			return answer, err
		}
		header := http.Header{"Content-Type": {"application/json"}, "Content-Length": {strconv.Itoa(len(raw))}}
		return &httpapi.Reply{Header: header, Write: func(w http.ResponseWriter) error {
			defer end()
			return writeSteadily(w, raw)
		}}, nil
	}
}

// writeSteadily writes an answer as long as the other side goes on taking it. That it doesn't is
// no error.
func writeSteadily(w http.ResponseWriter, b []byte) error {
	control := http.NewResponseController(w)
	until := func(at time.Time) error {
		if err := control.SetWriteDeadline(at); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("bounding the time of an answer: %w", err)
		}
		return nil
	}
	for len(b) > 0 {
		if err := until(time.Now().Add(maxWholeStall)); err != nil {
			return err
		}
		n, err := w.Write(b[:min(len(b), maxWholeStep)])
		if err != nil {
			return nil
		}
		b = b[n:]
	}
	if control.Flush() != nil {
		return nil
	}
	return until(time.Time{}) // or it would hit the next answer
}
