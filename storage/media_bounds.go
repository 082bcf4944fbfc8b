package storage

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// MediaBounds say which media are meant; a zero value bounds nothing. What is protected or
// quarantined is never meant.
type MediaBounds struct {
	// Remote are media that can be fetched again, otherwise those that users have uploaded.
	Remote bool
	UserID string
	// UnusedFor is how long nobody has asked for them.
	UnusedFor time.Duration
	// MinSize in bytes.
	MinSize int64
	// KeepPictures spares the pictures of this server's users and of rooms.
	KeepPictures bool
	// After is where to go on: nothing up to it is meant.
	After MediaPlace
}

// MediaPlace is a place in the order in which media were last asked for.
type MediaPlace struct {
	Accessed time.Time
	MediaURI
}

// query selects what the bounds mean, those that nobody has asked for for longest first; its arguments are
// those of args. What decides about the index is written out: PostgreSQL uses a partial one only
// for what can be proved from the statement. A profile's value is JSON, which writes URIs as they are.
func (b *MediaBounds) query(limit string) string {
	whose, spared := `m.user_id <> ''`, ``
	if b.Remote {
		whose = `m.user_id = ''`
	}
	if b.KeepPictures {
		spared = `
		AND NOT EXISTS (SELECT FROM profiles p WHERE p.user_id = m.user_id AND p.field = 'avatar_url' AND p.value = '"mxc://' || m.origin || '/' || m.media_id || '"')
		AND NOT EXISTS (SELECT FROM media_mentions x JOIN events e ON e.nid = x.event_nid
			JOIN current_state c ON c.room_nid = e.room_nid AND c.type = e.type AND c.state_key = e.state_key AND c.event_nid = e.nid
			WHERE x.origin = m.origin AND x.media_id = m.media_id)`
	}
	return `
	SELECT m.origin, m.media_id, m.accessed_at, m.sha256, f.size FROM media m JOIN media_files f ON f.sha256 = m.sha256
	WHERE ` + whose + ` AND m.sha256 IS NOT NULL AND m.quarantined_by IS NULL AND NOT m.protected
		AND m.accessed_at < now() - make_interval(secs => $1) AND (m.accessed_at, m.origin, m.media_id) > ($2, $3, $4)
		AND ($5 = '' OR m.user_id = $5) AND f.size >= $6` + spared + `
	ORDER BY m.accessed_at, m.origin, m.media_id` + limit
}

func (b *MediaBounds) args() []any {
	return []any{b.UnusedFor.Seconds(), b.After.Accessed, b.After.Origin, b.After.ID, b.UserID, b.MinSize}
}

// deleteBatch bounds the media that are deleted in one transaction.
const deleteBatch = 1000

// DeleteMedia forgets the first media that the bounds mean and returns which, in their order, and whether
// there may be more. Their files are collected later.
func (db *DB) DeleteMedia(ctx context.Context, b *MediaBounds) (gone []MediaPlace, more bool, err error) {
	rows, err := db.query(ctx, `WITH gone AS (`+b.query(` LIMIT `+strconv.Itoa(deleteBatch))+`)
		DELETE FROM media m USING gone g WHERE m.origin = g.origin AND m.media_id = g.media_id RETURNING m.origin, m.media_id, g.accessed_at`, b.args()...)
	gone, err = collect(rows, err, func(r *sql.Rows) (p MediaPlace, err error) { return p, r.Scan(&p.Origin, &p.ID, &p.Accessed) })
	if err != nil {
		return nil, false, fmt.Errorf("deleting media: %w", err)
	}
	slices.SortFunc(gone, func(a, b MediaPlace) int {
		return cmp.Or(a.Accessed.Compare(b.Accessed), cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.ID, b.ID))
	})
	return gone, len(gone) == deleteBatch, nil
}

// CountMedia adds up the media that the bounds mean. Files that others need as well are
// in it.
func (db *DB) CountMedia(ctx context.Context, b *MediaBounds) (t MediaTotal, err error) {
	err = db.scanRow(ctx, `WITH meant AS (`+b.query(``)+`)
		SELECT (SELECT count(*) FROM meant), coalesce(sum(size), 0)::bigint FROM (SELECT DISTINCT sha256, size FROM meant) AS files`,
		b.args(), &t.Media, &t.Bytes)
	if err != nil {
		return t, fmt.Errorf("adding up media: %w", err)
	}
	return t, nil
}
