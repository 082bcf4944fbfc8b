package federationapi

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"hearth/storage"
)

var (
	transactions = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "hearth_federation_transactions_total", Help: "Transactions sent to other servers, by result: taken or failed."}, []string{"result"})
	destinationCount = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "hearth_federation_destinations", Help: "Servers that this one sends to, by state: current, behind or failing."}, []string{"state"})
	positionsBehind = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "hearth_federation_positions_behind", Help: "How far in the stream the servers of a state, behind or failing, are behind at most."}, []string{"state"})
	furthestBehind = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "hearth_federation_behind_seconds", Help: "For how long the server that is failing longest has been."})
)

const (
	// countEvery is how often servers are counted for the metrics.
	countEvery = 15 * time.Second
	// pruneEvery is how often servers are looked for that nothing is sent to any more, and
	// pruneAfter how long one is remembered.
	pruneEvery, pruneAfter = 24 * time.Hour, 30 * 24 * time.Hour
)

// tidy counts servers, stores the places of those that were sent everything, and
// forgets those that share nothing with this one any more.
func (s *sender) tidy() {
	count, store, prune := time.NewTicker(countEvery), time.NewTicker(tidyEvery), time.NewTicker(pruneEvery)
	defer count.Stop()
	defer store.Stop()
	defer prune.Stop()
	for {
		var err error
		select {
		case <-s.ctx.Done():
			return
		case <-count.C:
			s.count()
		case <-store.C:
			err = s.store(s.ctx)
		case <-prune.C:
			err = s.prune(s.ctx)
		}
		if err != nil && s.ctx.Err() == nil {
			s.a.log.Warn("tidying up what is sent to other servers failed", "err", err)
		}
	}
}

func (s *sender) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, behind, failing := 0, 0, 0
	var late, dead storage.Position
	var longest time.Duration
	settled := s.settled.Load()
	for _, d := range s.servers {
		switch {
		case d.state == paused:
			failing++
			dead = max(dead, settled-d.cursor)
			if !d.since.IsZero() {
				longest = max(longest, time.Since(d.since))
			}
		case d.state == idle:
			current++
		default:
			behind++
			late = max(late, settled-d.cursor)
		}
	}
	positionsBehind.WithLabelValues("behind").Set(float64(late))
	positionsBehind.WithLabelValues("failing").Set(float64(dead))
	destinationCount.WithLabelValues("current").Set(float64(current))
	destinationCount.WithLabelValues("behind").Set(float64(behind))
	destinationCount.WithLabelValues("failing").Set(float64(failing))
	furthestBehind.Set(longest.Seconds())
}

// store stores the places of servers that have been sent everything: nothing else
// writes them as long as nothing concerns those servers.
func (s *sender) store(ctx context.Context) error {
	settled := s.settled.Load()
	lowest := settled
	var current []string
	s.mu.Lock()
	for server, d := range s.servers {
		if d.state == idle && !d.isQuiet && d.cursor <= settled {
			current = append(current, server)
		} else {
			lowest = min(lowest, d.cursor)
		}
	}
	s.mu.Unlock()
	if err := s.a.db.MoveFederationCursors(ctx, current, settled); err != nil {
		return err
	}
	// Only after those: what comes before it isn't looked at again.
	if err := s.a.db.SetFederationCursor(ctx, storage.FederationCursor{Server: dispatched, Position: settled}); err != nil {
		return err
	}
	return s.a.db.ForgetDeletedDevices(ctx, lowest)
}

// prune forgets servers that have been sent everything, or can't be, and with whose users
// nobody shares a room.
func (s *sender) prune(ctx context.Context) error {
	sharing, err := s.a.db.ServersSharing(ctx, s.a.serverName)
	if err != nil {
		return err
	}
	var gone []string
	s.mu.Lock()
	for server, d := range s.servers {
		old := d.state == idle && time.Since(d.at) > pruneAfter ||
			d.state == paused && time.Since(d.since) > pruneAfter
		if !sharing[server] && old {
			if d.timer != nil {
				d.timer.Stop()
			}
			delete(s.servers, server)
			gone = append(gone, server)
		}
	}
	s.mu.Unlock()
	for _, server := range gone {
		if err := s.a.db.DeleteFederationCursor(ctx, server); err != nil {
			return err
		}
	}
	return nil
}
