package mediaapi

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"hearth/storage"
)

const (
	// accessesEvery is how often it is written which media were asked for.
	accessesEvery = time.Minute
	// maxAccesses bounds those waiting to be written; what finds no place is noted when
	// it is next asked for.
	maxAccesses = 10_000
)

// accesses collects which media were asked for and writes them together.
type accesses struct {
	mu      sync.Mutex
	waiting map[storage.MediaURI]struct{}
}

func (a *accesses) add(m *storage.Media) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[storage.MediaURI]struct{}{}
	}
	if len(a.waiting) < maxAccesses {
		a.waiting[storage.MediaURI{Origin: m.Origin, ID: m.ID}] = struct{}{}
	}
}

func (a *accesses) flush(ctx context.Context, db *storage.DB) error {
	a.mu.Lock()
	waiting := a.waiting
	a.waiting = nil
	a.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	var used []storage.MediaURI
	for u := range waiting {
		used = append(used, u)
	}
	return db.RecordMediaAccess(ctx, used)
}

// recordAccesses writes until ctx ends, and then once more.
func (a *API) recordAccesses(ctx context.Context) {
	ticker := time.NewTicker(accessesEvery)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ended = true
		}
		writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		if err := a.accesses.flush(writing, a.db); err != nil {
			a.log.Warn("which media were asked for could not be recorded", slog.Any("error", err))
		}
		cancel()
	}
}
