package federationapi

import (
	"context"
	"testing"

	"hearth/internal/httpapi"
)

// TestTurns has servers do as many things at a time as they may.
func TestTurns(t *testing.T) {
	hasty, patient := turns{most: 2}, turns{most: 2, waiting: 1}
	for _, all := range []*turns{&hasty, &patient} {
		var ends []func()
		for range 2 {
			end, err := all.begin(background(t), "one")
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, end)
		}
		if end, err := all.begin(background(t), "two"); err != nil {
			t.Error(err)
		} else {
			end()
		}
		given, cancel := context.WithCancel(background(t))
		if all == &patient {
			cancel()
		}
		if _, err := all.begin(given, "one"); err == nil || all == &hasty && httpapi.CodeOf(err) != "M_LIMIT_EXCEEDED" {
			t.Errorf("a third thing is done: %v", err)
		}
		cancel()
		if all == &patient {
			full := turns{most: 1, waiting: 1}
			for range 2 {
				go full.begin(background(t), "one")
			}
			eventually(t, "that one thing is done and one waits", func() bool {
				full.mu.Lock()
				defer full.mu.Unlock()
				return full.of["one"] != nil && full.of["one"].users == 2
			})
			if _, err := full.begin(background(t), "one"); httpapi.CodeOf(err) != "M_LIMIT_EXCEEDED" {
				t.Errorf("one more waits: %v", err)
			}
		}
		done := make(chan struct{})
		go func() {
			if end, err := patient.begin(background(t), "one"); err == nil {
				end()
			}
			close(done)
		}()
		for _, end := range ends {
			end()
		}
		<-done
		if len(all.of) != 0 {
			t.Errorf("%d servers are remembered", len(all.of))
		}
	}
}
