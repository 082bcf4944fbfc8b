package storage

import (
	"context"
	"fmt"
)

// This file is what administrators do with media.

// QuarantineMedia puts media out of reach, and everything else with the same content,
// unless it is protected; by nobody ("") it brings them back. It returns how many changed.
func (db *DB) QuarantineMedia(ctx context.Context, uris []MediaURI, by string) (int64, error) {
	var origins, ids textArray
	for _, u := range uris {
		origins.add(u.Origin)
		ids.add(u.ID)
	}
	n, err := db.exec(ctx, `
		UPDATE media m SET quarantined_by = nullif($3, '')
		WHERE m.sha256 IN (SELECT n.sha256 FROM media n JOIN unnest($1::text[], $2::text[]) AS u (origin, media_id)
				ON n.origin = u.origin AND n.media_id = u.media_id WHERE n.sha256 IS NOT NULL AND NOT ($3 <> '' AND n.protected))
			AND (m.quarantined_by IS NULL) = ($3 <> '') AND NOT ($3 <> '' AND m.protected)`, &origins, &ids, by)
	if err != nil {
		return 0, fmt.Errorf("quarantining media: %w", err)
	}
	return n, nil
}

// QuarantineUserMedia puts everything out of reach that a user has uploaded and that isn't
// protected, and returns how many that were.
func (db *DB) QuarantineUserMedia(ctx context.Context, userID, by string) (int64, error) {
	n, err := db.exec(ctx, `
		UPDATE media SET quarantined_by = $2
		WHERE quarantined_by IS NULL AND NOT protected AND sha256 IN (
			SELECT sha256 FROM media WHERE user_id = $1 AND user_id <> '' AND sha256 IS NOT NULL AND NOT protected)`, userID, by)
	if err != nil {
		return 0, fmt.Errorf("quarantining a user's media: %w", err)
	}
	return n, nil
}

// ProtectMedia says whether media can't be quarantined and doesn't go by age. It returns
// ErrNotFound if there is none.
func (db *DB) ProtectMedia(ctx context.Context, origin, id string, protected bool) error {
	n, err := db.exec(ctx, `UPDATE media SET protected = $3 WHERE origin = $1 AND media_id = $2`, origin, id, protected)
	if err != nil {
		return fmt.Errorf("protecting media: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

// DeleteOneMedia forgets one media, or returns ErrNotFound.
func (db *DB) DeleteOneMedia(ctx context.Context, origin, id string) error {
	n, err := db.exec(ctx, `DELETE FROM media WHERE origin = $1 AND media_id = $2`, origin, id)
	if err != nil {
		return fmt.Errorf("deleting media: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

// MediaTotal is how many media there are, and what files they need, in bytes.
type MediaTotal struct{ Media, Bytes int64 }

// MediaUse is what the media of a server take.
type MediaUse struct {
	Local, Remote, Quarantined                MediaTotal
	LocalFiles, RemoteFiles, QuarantinedFiles int64
	UnusedFiles, UnusedBytes                  int64
}

// MediaUsage adds up all media. A file that both users and others need counts for both.
func (db *DB) MediaUsage(ctx context.Context) (u MediaUse, err error) {
	err = db.scanRow(ctx, `
		WITH used AS (
			SELECT f.sha256, f.size, count(*) FILTER (WHERE m.user_id <> '') AS local, count(*) FILTER (WHERE m.user_id = '') AS remote,
				count(*) FILTER (WHERE m.quarantined_by IS NOT NULL) AS quarantined
			FROM media_files f LEFT JOIN media m ON m.sha256 = f.sha256 GROUP BY f.sha256, f.size
		)
		SELECT coalesce(sum(local), 0)::bigint, count(*) FILTER (WHERE local > 0), coalesce(sum(size) FILTER (WHERE local > 0), 0)::bigint,
			coalesce(sum(remote), 0)::bigint, count(*) FILTER (WHERE remote > 0), coalesce(sum(size) FILTER (WHERE remote > 0), 0)::bigint,
			coalesce(sum(quarantined), 0)::bigint, count(*) FILTER (WHERE quarantined > 0), coalesce(sum(size) FILTER (WHERE quarantined > 0), 0)::bigint,
			count(*) FILTER (WHERE local + remote = 0), coalesce(sum(size) FILTER (WHERE local + remote = 0), 0)::bigint
		FROM used`, nil,
		&u.Local.Media, &u.LocalFiles, &u.Local.Bytes, &u.Remote.Media, &u.RemoteFiles, &u.Remote.Bytes,
		&u.Quarantined.Media, &u.QuarantinedFiles, &u.Quarantined.Bytes, &u.UnusedFiles, &u.UnusedBytes)
	if err != nil {
		return u, fmt.Errorf("adding up all media: %w", err)
	}
	return u, nil
}
