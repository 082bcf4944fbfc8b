package storage

import (
	"context"
	"fmt"
	"time"
)

// This file is about media that can be fetched again: they belong to no user.

// accessGrain is how exactly it is known when media was last asked for.
const accessGrain = time.Hour

// KeepRemoteMedia makes a fetched file available under its URI. The file must have
// been announced and be in the store. Media that another process has fetched
// meanwhile stays as it is.
func (db *DB) KeepRemoteMedia(ctx context.Context, m *Media) error {
	_, err := db.referToFile(ctx, `
		INSERT INTO media (origin, media_id, user_id, sha256, content_type, filename, quarantined_by)
		VALUES ($1, $2, '', $3, $4, $5, (SELECT quarantined_by FROM media WHERE sha256 = $3 AND quarantined_by IS NOT NULL LIMIT 1))
		ON CONFLICT DO NOTHING`, m.Origin, m.ID, m.SHA256, m.ContentType, m.Filename)
	if err != nil {
		return fmt.Errorf("keeping fetched media: %w", err)
	}
	return nil
}

// RecordMediaAccess notes that media was asked for just now.
func (db *DB) RecordMediaAccess(ctx context.Context, used []MediaURI) error {
	var origins, ids textArray
	for _, u := range used {
		origins.add(u.Origin)
		ids.add(u.ID)
	}
	_, err := db.exec(ctx, `
		UPDATE media m SET accessed_at = now() FROM unnest($1::text[], $2::text[]) AS u (origin, media_id)
		WHERE m.origin = u.origin AND m.media_id = u.media_id AND m.accessed_at < now() - make_interval(secs => $3)`,
		&origins, &ids, accessGrain.Seconds())
	if err != nil {
		return fmt.Errorf("recording the use of media: %w", err)
	}
	return nil
}

// RefetchableBytes adds up the files that only media refer to which can be fetched again.
func (db *DB) RefetchableBytes(ctx context.Context) (int64, error) {
	var n int64
	err := db.scanRow(ctx, `
		SELECT coalesce(sum(f.size), 0)::bigint FROM media_files f
		WHERE EXISTS (SELECT FROM media m WHERE m.sha256 = f.sha256 AND m.user_id = '')
			AND NOT EXISTS (SELECT FROM media m WHERE m.sha256 = f.sha256 AND m.user_id <> '')`, nil, &n)
	if err != nil {
		return 0, fmt.Errorf("adding up fetched media: %w", err)
	}
	return n, nil
}

// ForgetRefetchable forgets media that can be fetched again, the least recently used
// first, until their files have the given number of bytes together or limit is
// reached. It returns how many it forgot, and the bytes of their files.
func (db *DB) ForgetRefetchable(ctx context.Context, bytes int64, limit int) (t MediaTotal, err error) {
	err = db.scanRow(ctx, `
		WITH oldest AS (
			SELECT origin, media_id, sha256, accessed_at FROM media
			WHERE user_id = '' AND sha256 IS NOT NULL AND quarantined_by IS NULL AND NOT protected
			ORDER BY accessed_at, origin, media_id LIMIT $2
		), summed AS (
			SELECT o.origin, o.media_id, f.size, sum(f.size) OVER (ORDER BY o.accessed_at, o.origin, o.media_id) - f.size AS before
			FROM oldest o JOIN media_files f ON f.sha256 = o.sha256
		), gone AS (
			DELETE FROM media m USING summed s WHERE m.origin = s.origin AND m.media_id = s.media_id AND s.before < $1 RETURNING s.size
		) SELECT count(*), coalesce(sum(size), 0)::bigint FROM gone`, []any{bytes, limit}, &t.Media, &t.Bytes)
	if err != nil {
		return t, fmt.Errorf("forgetting fetched media: %w", err)
	}
	return t, nil
}
