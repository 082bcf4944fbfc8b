package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// Report is what a user has told the administrators of.
type Report struct {
	ID         int64
	ReceivedAt int64  // milliseconds since 1970
	Kind       string // event, room or user
	Reporter   string
	// RoomID is empty for a user, EventID for a user or a room.
	RoomID, EventID string
	// Target is the user, or the sender of the event as far as that is known.
	Target string
	Reason string
	// RoomName and RoomAlias are what the room is called now, as far as that is known.
	RoomName, RoomAlias string
}

// AddReport keeps a report, and of its reporter's those that are newest: keep of them.
func (db *DB) AddReport(ctx context.Context, r Report, keep int) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO reports (received_at, kind, reporter, room_id, event_id, target, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			r.ReceivedAt, r.Kind, r.Reporter, r.RoomID, r.EventID, r.Target, r.Reason)
		if err != nil {
			return fmt.Errorf("storing a report: %w", err)
		}
		_, err = tx.ExecContext(ctx, `
			DELETE FROM reports WHERE reporter = $1
				AND id <= (SELECT id FROM reports WHERE reporter = $1 ORDER BY id DESC OFFSET $2 LIMIT 1)`, r.Reporter, keep)
		if err != nil {
			return fmt.Errorf("removing old reports: %w", err)
		}
		return nil
	})
}

// ReportQuery says which reports to list.
type ReportQuery struct {
	Kind string
	// Reporter, Target and RoomID, unless "", want just those.
	Reporter, Target, RoomID string
	OldestFirst              bool
	Offset, Limit            int
}

const reportColumns = ` p.id, p.received_at, p.kind, p.reporter, p.room_id, p.event_id, p.target, p.reason,
	coalesce(s.name, ''), coalesce(s.canonical_alias, '') `

const reportTables = ` reports p LEFT JOIN rooms r ON r.room_id = p.room_id LEFT JOIN room_summaries s ON s.room_nid = r.nid `

// into are where a row of reportColumns goes.
func (x *Report) into() []any {
	return []any{&x.ID, &x.ReceivedAt, &x.Kind, &x.Reporter, &x.RoomID, &x.EventID, &x.Target, &x.Reason, &x.RoomName, &x.RoomAlias}
}

// Reports lists reports, the newest first unless told otherwise, and how many there are in
// all.
func (db *DB) Reports(ctx context.Context, q ReportQuery) (list []Report, total int, err error) {
	order := "DESC"
	if q.OldestFirst {
		order = "ASC"
	}
	const which = ` WHERE p.kind = $1 AND ($2 = '' OR p.reporter = $2) AND ($3 = '' OR p.target = $3) AND ($4 = '' OR p.room_id = $4) `
	err = db.scanRow(ctx, `SELECT count(*) FROM reports p`+which, []any{q.Kind, q.Reporter, q.Target, q.RoomID}, &total)
	if err != nil {
		return nil, 0, fmt.Errorf("counting reports: %w", err)
	}
	rows, err := db.query(ctx, `SELECT`+reportColumns+`FROM`+reportTables+which+`ORDER BY p.id `+order+` OFFSET $5 LIMIT $6`,
		q.Kind, q.Reporter, q.Target, q.RoomID, q.Offset, q.Limit)
	list, err = collect(rows, err, func(r *sql.Rows) (x Report, err error) { return x, r.Scan(x.into()...) })
	if err != nil {
		return nil, 0, fmt.Errorf("reading reports: %w", err)
	}
	return list, total, nil
}

// GetReport returns a report of a kind, or ErrNotFound.
func (db *DB) GetReport(ctx context.Context, kind string, id int64) (*Report, error) {
	var x Report
	err := db.scanRow(ctx, `SELECT`+reportColumns+`FROM`+reportTables+`WHERE p.id = $1 AND p.kind = $2`, []any{id, kind}, x.into()...)
	return &x, notFound("reading a report", err)
}

// DeleteReport removes a report of a kind, or returns ErrNotFound.
func (db *DB) DeleteReport(ctx context.Context, kind string, id int64) error {
	n, err := db.exec(ctx, `DELETE FROM reports WHERE id = $1 AND kind = $2`, id, kind)
	if err != nil {
		return fmt.Errorf("removing a report: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}
