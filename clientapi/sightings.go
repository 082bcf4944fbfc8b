package clientapi

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"hearth/storage"
)

const (
	// sightingsEvery is how often sightings are written.
	sightingsEvery = 10 * time.Second
	// maxSightings bounds those waiting to be written; a device that finds no place
	// is recorded when it is next seen.
	maxSightings = 10_000
	// maxUserAgent bounds what is kept of a client's name, in bytes.
	maxUserAgent = 300
)

// sightings collects when devices were seen and writes them together.
type sightings struct {
	db  *storage.DB
	log *slog.Logger

	mu      sync.Mutex
	waiting map[[2]string]storage.Sighting

	stop, stopped chan struct{}
}

func newSightings(db *storage.DB, log *slog.Logger) *sightings {
	s := &sightings{db: db, log: log, waiting: map[[2]string]storage.Sighting{},
		stop: make(chan struct{}), stopped: make(chan struct{})}
	go s.run()
	return s
}

func (s *sightings) add(seen storage.Sighting) {
	if !isText(seen.UserAgent) {
		seen.UserAgent = ""
	}
	if len(seen.UserAgent) > maxUserAgent {
		seen.UserAgent = truncate(seen.UserAgent, maxUserAgent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) < maxSightings {
		s.waiting[[2]string{seen.UserID, seen.DeviceID}] = seen
	}
}

func (s *sightings) run() {
	defer close(s.stopped)
	ticker := time.NewTicker(sightingsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.flush()
		case <-s.stop:
			s.flush()
			return
		}
	}
}

func (s *sightings) flush() {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = map[[2]string]storage.Sighting{}
	s.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	list := make([]storage.Sighting, 0, len(waiting))
	for _, seen := range waiting {
		list = append(list, seen)
	}
	ctx, cancel := context.WithTimeout(context.Background(), sightingsEvery)
	defer cancel()
	if err := s.db.RecordSightings(ctx, list); err != nil {
		s.log.Warn("when devices were last seen could not be recorded", "devices", len(list), "err", err)
	}
}

func (s *sightings) close() {
	close(s.stop)
	<-s.stopped
}
