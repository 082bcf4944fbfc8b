package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sender is one of the people who talk during the crash test.
type sender struct {
	number int
	user   *user
	rooms  []string
}

// acknowledged is a message that the server has answered for.
type acknowledged struct {
	id, room string
	number   int // counts the sender's messages from 1
}

// conversation is all senders and readers of the crash test at work.
type conversation struct {
	count, repeated atomic.Int64
	senders         sync.WaitGroup
	readers         sync.WaitGroup
	silence         chan struct{} // closed when the senders shall come to an end
	reading         context.Context
	stopReading     context.CancelFunc

	mu    sync.Mutex
	acked map[string]acknowledged // by text
	err   error
}

// newConversation sets the senders talking.
func newConversation(t *testing.T, senders []*sender) *conversation {
	c := &conversation{silence: make(chan struct{}), acked: map[string]acknowledged{}}
	c.reading, c.stopReading = context.WithCancel(t.Context())
	t.Cleanup(c.stopReaders)
	for _, s := range senders {
		c.senders.Go(func() { s.run(t.Context(), c) })
	}
	return c
}

// finish lets every sender have its last message answered.
func (c *conversation) finish() map[string]acknowledged {
	close(c.silence)
	c.senders.Wait()
	return c.acked
}

func (c *conversation) stopReaders() {
	c.stopReading()
	c.readers.Wait()
}

// fail keeps the first thing that went wrong beside the test's own goroutine.
func (c *conversation) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *conversation) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// run sends one message after the other, each until it is acknowledged.
func (s *sender) run(ctx context.Context, c *conversation) {
	for n := 1; ; n++ {
		select {
		case <-c.silence:
			return
		case <-ctx.Done():
			return
		default:
		}
		room := s.rooms[(s.number+n)%len(s.rooms)]
		text := fmt.Sprintf("%d-%d", s.number, n)
		id, repeats, err := s.send(ctx, room, text)
		if err == nil && repeats > 0 {
			c.repeated.Add(1)
			err = s.sendAgain(ctx, room, text, id)
		}
		if err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		c.acked[text] = acknowledged{id, room, n}
		c.mu.Unlock()
		c.count.Add(1)
	}
}

// send repeats a message under its transaction ID until the server answers for it.
func (s *sender) send(ctx context.Context, room, text string) (eventID string, repeats int, err error) {
	path := inRoom(room, "send/m.room.message/"+text)
	for ; ; repeats++ {
		a, err := s.user.try(ctx, http.MethodPut, path, textMessage(text))
		switch {
		case err == nil && a.status == http.StatusOK:
			return a.json().Get("event_id").String(), repeats, nil
		case err == nil && a.status < 500:
			return "", repeats, fmt.Errorf("sending %q: %s", text, a)
		case ctx.Err() != nil:
			return "", repeats, ctx.Err()
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// sendAgain asserts that a transaction answered once is answered the same for ever.
func (s *sender) sendAgain(ctx context.Context, room, text, want string) error {
	got, _, err := s.send(ctx, room, text)
	if err == nil && got != want {
		err = fmt.Errorf("%q was acknowledged as %s and then as %s", text, want, got)
	}
	return err
}
