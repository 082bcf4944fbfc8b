package storage

import (
	"context"
	"fmt"
	"time"
)

// URLPreview is what a page says of itself.
type URLPreview struct {
	// Hash is the SHA-256 of the URL.
	Hash []byte
	// MediaID is its picture among this server's media, "" for none.
	MediaID string
	// Answer is what clients are told, as JSON.
	Answer []byte
}

// GetURLPreview returns a preview that hasn't expired and whose picture is still
// there, or ErrNotFound.
func (db *DB) GetURLPreview(ctx context.Context, serverName string, hash []byte) ([]byte, error) {
	var answer []byte
	err := db.scanRow(ctx, `
		SELECT p.answer FROM url_previews p WHERE p.hash = $1 AND p.expires_at > now()
			AND (p.media_id = '' OR EXISTS (SELECT FROM media m WHERE m.origin = $2 AND m.media_id = p.media_id))`,
		[]any{hash, serverName}, &answer)
	return answer, notFound("reading a preview", err)
}

// SetURLPreview keeps a preview for a while.
func (db *DB) SetURLPreview(ctx context.Context, p *URLPreview, lifetime time.Duration) error {
	_, err := db.exec(ctx, `
		INSERT INTO url_previews (hash, media_id, answer, expires_at) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
		ON CONFLICT (hash) DO UPDATE SET media_id = excluded.media_id, answer = excluded.answer, fetched_at = now(), expires_at = excluded.expires_at`,
		p.Hash, p.MediaID, string(p.Answer), lifetime.Seconds())
	if err != nil {
		return fmt.Errorf("keeping a preview: %w", err)
	}
	return nil
}

// PruneURLPreviews deletes what has expired, and of the rest all but the keep that
// last longest.
func (db *DB) PruneURLPreviews(ctx context.Context, keep int) error {
	_, err := db.exec(ctx, `
		DELETE FROM url_previews WHERE expires_at <= now()
			OR expires_at < (SELECT expires_at FROM url_previews ORDER BY expires_at DESC OFFSET $1 LIMIT 1)`, keep)
	if err != nil {
		return fmt.Errorf("deleting old previews: %w", err)
	}
	return nil
}
