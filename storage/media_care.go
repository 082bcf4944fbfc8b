package storage

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
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

// MediaBounds say which media are meant; a zero value bounds nothing.
type MediaBounds struct {
	// Remote are other servers' media, otherwise those that users have uploaded.
	Remote bool
	UserID string
	// UnusedFor is how long nobody has asked for them.
	UnusedFor time.Duration
	// MinSize in bytes.
	MinSize int64
	// After is where to go on: nothing up to it is meant.
	After MediaURI
	// Spare keeps what is protected, quarantined, or the picture of a user or room.
	Spare bool
}

// boundedMediaSQL selects what MediaBounds say; its arguments are those of args. A profile's value
// is JSON, which writes URIs as they are.
const boundedMediaSQL = `
	SELECT m.origin, m.media_id, m.sha256, f.size FROM media m JOIN media_files f ON f.sha256 = m.sha256
	WHERE (m.user_id = '') = $1 AND ($2 = '' OR m.user_id = $2) AND f.size >= $4 AND (m.origin, m.media_id) > ($7, $8)
		AND ($3::float8 = 0 OR greatest(m.accessed_at, m.created_at) < now() - make_interval(secs => $3))
		AND NOT ($5 AND (m.protected OR m.quarantined_by IS NOT NULL
			OR NOT $1 AND EXISTS (SELECT FROM profiles p WHERE p.user_id = m.user_id AND p.field = 'avatar_url' AND p.value = '"mxc://' || m.origin || '/' || m.media_id || '"')
			OR NOT $1 AND EXISTS (SELECT FROM media_mentions x JOIN events e ON e.nid = x.event_nid
				JOIN current_state c ON c.room_nid = e.room_nid AND c.type = e.type AND c.state_key = e.state_key AND c.event_nid = e.nid
				WHERE x.origin = m.origin AND x.media_id = m.media_id)))
	ORDER BY m.origin, m.media_id LIMIT $6`

// args are boundedMediaSQL's; limit may be nil.
func (b *MediaBounds) args(limit any) []any {
	return []any{b.Remote, b.UserID, b.UnusedFor.Seconds(), b.MinSize, b.Spare, limit, b.After.Origin, b.After.ID}
}

// DeleteMedia forgets up to limit media, the first by their URIs, and returns which, in that order. Their files are collected later.
func (db *DB) DeleteMedia(ctx context.Context, b *MediaBounds, limit int) ([]MediaURI, error) {
	rows, err := db.query(ctx, `WITH gone AS (`+boundedMediaSQL+`)
		DELETE FROM media m USING gone g WHERE m.origin = g.origin AND m.media_id = g.media_id RETURNING m.origin, m.media_id`, b.args(limit)...)
	list, err := collect(rows, err, func(r *sql.Rows) (u MediaURI, err error) { return u, r.Scan(&u.Origin, &u.ID) })
	if err != nil {
		return nil, fmt.Errorf("deleting media: %w", err)
	}
	slices.SortFunc(list, func(a, b MediaURI) int { return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

// MediaTotal is how many media there are, and what files they need, in bytes.
type MediaTotal struct{ Media, Bytes int64 }

// CountMedia adds up the media that the bounds mean. Files that others need as well are
// in it.
func (db *DB) CountMedia(ctx context.Context, b *MediaBounds) (t MediaTotal, err error) {
	err = db.scanRow(ctx, `WITH meant AS (`+boundedMediaSQL+`)
		SELECT (SELECT count(*) FROM meant), coalesce(sum(size), 0)::bigint FROM (SELECT DISTINCT sha256, size FROM meant) AS files`,
		b.args(nil), &t.Media, &t.Bytes)
	if err != nil {
		return t, fmt.Errorf("adding up media: %w", err)
	}
	return t, nil
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
