package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// MediaDetails is what administrators see of media.
type MediaDetails struct {
	Media
	Size                int64
	Created, LastAccess time.Time
	// Mentions counts the events that name it in the open and aren't redacted.
	Mentions int64
}

// MediaPage is a page of a list that is sorted by one of its columns.
type MediaPage struct {
	From, Limit int
	OrderBy     string
	Descending  bool
}

// userMediaOrder and userTotalsOrder are the columns that lists can be sorted by.
var (
	userMediaOrder = map[string]string{
		"": "m.created_at", "created_ts": "m.created_at", "last_access_ts": "m.accessed_at", "media_id": "m.media_id", "upload_name": "m.filename",
		"media_length": "f.size", "media_type": "m.content_type", "quarantined_by": "m.quarantined_by", "safe_from_quarantine": "m.protected",
	}
	userTotalsOrder = map[string]string{"": "user_id", "user_id": "user_id", "displayname": "displayname", "media_length": "bytes", "media_count": "n"}
)

// sql is the end of a query that returns the page, "" for an unknown column.
func (p *MediaPage) sql(columns map[string]string, last string) string {
	column, ok := columns[p.OrderBy]
	if !ok {
		return ""
	}
	direction := " ASC"
	if p.Descending {
		direction = " DESC"
	}
	return " ORDER BY " + column + direction + " NULLS LAST, " + last + direction
}

// SortsUserMedia and SortsUserTotals report whether the page's OrderBy is a column.
func (p *MediaPage) SortsUserMedia() bool { return p.sql(userMediaOrder, "") != "" }

// SortsUserTotals is SortsUserMedia for UserMediaTotals.
func (p *MediaPage) SortsUserTotals() bool { return p.sql(userTotalsOrder, "") != "" }

const mediaDetailsSQL = `
	SELECT m.origin, m.media_id, m.user_id, m.content_type, m.filename, m.sha256, coalesce(m.quarantined_by, ''), m.protected, f.size, m.created_at,
		m.accessed_at, (SELECT count(*) FROM media_mentions x JOIN events e ON e.nid = x.event_nid
			WHERE x.origin = m.origin AND x.media_id = m.media_id AND e.redacted_by IS NULL)
	FROM media m JOIN media_files f ON f.sha256 = m.sha256`

func scanDetails(r interface{ Scan(...any) error }) (d MediaDetails, err error) {
	return d, r.Scan(&d.Origin, &d.ID, &d.UserID, &d.ContentType, &d.Filename, &d.SHA256, &d.QuarantinedBy, &d.Protected, &d.Size, &d.Created, &d.LastAccess, &d.Mentions)
}

// MediaDetails returns what is known of uploaded media, or ErrNotFound.
func (db *DB) MediaDetails(ctx context.Context, origin, id string) (*MediaDetails, error) {
	st, err := db.statement(ctx, mediaDetailsSQL+` WHERE m.origin = $1 AND m.media_id = $2`)
	if err != nil {
		return nil, err
	}
	d, err := scanDetails(st.QueryRowContext(ctx, origin, id))
	return &d, notFound("reading what is known of media", err)
}

// UserMedia returns a page of a user's uploads and how many there are.
func (db *DB) UserMedia(ctx context.Context, userID string, p MediaPage) (list []MediaDetails, total int64, err error) {
	err = db.scanRow(ctx, `SELECT count(*) FROM media WHERE user_id = $1 AND user_id <> '' AND sha256 IS NOT NULL`, []any{userID}, &total)
	if err != nil {
		return nil, 0, fmt.Errorf("counting a user's media: %w", err)
	}
	rows, err := db.query(ctx, mediaDetailsSQL+` WHERE m.user_id = $1 AND m.user_id <> ''`+p.sql(userMediaOrder, "m.media_id")+` LIMIT $2 OFFSET $3`, userID, p.Limit, p.From)
	if list, err = collect(rows, err, func(r *sql.Rows) (MediaDetails, error) { return scanDetails(r) }); err != nil {
		return nil, 0, fmt.Errorf("listing a user's media: %w", err)
	}
	return list, total, nil
}

// UserMediaTotal is what a user's uploads take.
type UserMediaTotal struct {
	UserID, DisplayName string
	MediaTotal
}

// UserMediaTotals returns a page of what users' uploads of a time take, and how many users
// there are. search, unless "", must be a part of their id or name; a zero time bounds nothing.
func (db *DB) UserMediaTotals(ctx context.Context, search string, from, until time.Time, p MediaPage) (list []UserMediaTotal, total int64, err error) {
	var since, before any
	if !from.IsZero() {
		since = from
	}
	if !until.IsZero() {
		before = until
	}
	rows, err := db.query(ctx, `
		WITH totals AS (
			SELECT m.user_id, coalesce((SELECT p.value::json #>> '{}' FROM profiles p WHERE p.user_id = m.user_id AND p.field = 'displayname'), '') AS displayname,
				count(*) AS n, sum(f.size)::bigint AS bytes
			FROM media m JOIN media_files f ON f.sha256 = m.sha256
			WHERE m.user_id <> '' AND ($1::timestamptz IS NULL OR m.created_at >= $1) AND ($2::timestamptz IS NULL OR m.created_at <= $2)
			GROUP BY m.user_id
		)
		SELECT user_id, displayname, n, bytes, count(*) OVER () FROM totals
		WHERE $3 = '' OR strpos(lower(user_id), lower($3)) > 0 OR strpos(lower(displayname), lower($3)) > 0`+
		p.sql(userTotalsOrder, "user_id")+` LIMIT $4 OFFSET $5`, since, before, search, p.Limit, p.From)
	list, err = collect(rows, err, func(r *sql.Rows) (t UserMediaTotal, err error) {
		return t, r.Scan(&t.UserID, &t.DisplayName, &t.Media, &t.Bytes, &total)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("adding up users' media: %w", err)
	}
	return list, total, nil
}
