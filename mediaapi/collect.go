package mediaapi

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

const (
	// collectEvery is how often unused files are looked for.
	collectEvery = time.Hour
	// unusedAge is how long ago a file was announced before it may be called
	// unused. Between that and its media's row an upload needs milliseconds.
	unusedAge = time.Hour
	// collectBatch bounds the files that are looked up at once.
	collectBatch = 1000
)

// collectRegularly collects at once, after what may have been a crash, and then
// every hour until ctx ends.
func (a *API) collectRegularly(ctx context.Context) {
	ticker := time.NewTicker(collectEvery)
	defer ticker.Stop()
	for {
		if err := a.collect(ctx, unusedAge); err != nil && ctx.Err() == nil {
			a.log.Error("collecting unused media failed", slog.Any("error", err))
		}
		if err := a.store.files.sweep(ctx, unusedAge); err != nil && ctx.Err() == nil {
			a.log.Warn("deleting what interrupted uploads have left failed", slog.Any("error", err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// collect forgets what goes by age, expired media ids and previews, and deletes the files that no media refers
// to: an upload that stopped before its row was written leaves one.
func (a *API) collect(ctx context.Context, age time.Duration) error {
	if err := a.retain(ctx); err != nil {
		return err
	}
	if _, err := a.db.DeleteExpiredMedia(ctx, age); err != nil {
		return err
	}
	if err := a.db.PruneURLPreviews(ctx, maxPreviews); err != nil {
		return err
	}
	for {
		unused, err := a.db.UnusedMediaFiles(ctx, age, collectBatch)
		if err != nil {
			return err
		}
		for _, hash := range unused {
			h := fileHash(hash)
			if err := a.db.DeleteUnusedMediaFile(ctx, hash, age, func() error { return a.store.remove(ctx, h) }); err != nil {
				return fmt.Errorf("deleting unused file %s: %w", h, err)
			}
		}
		if len(unused) < collectBatch {
			return nil
		}
	}
}
