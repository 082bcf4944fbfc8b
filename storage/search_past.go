package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// SearchPast is a piece of a room's past that was fetched and isn't in the search index yet: the events at
// a position, from First to Last.
type SearchPast struct {
	RoomNID     int64
	Position    Position
	First, Last int32
}

// notePastToSearch has what was fetched of a room's past be indexed.
func notePastToSearch(ctx context.Context, tx *sql.Tx, o *OldEvents) error {
	if len(o.Events) == 0 {
		return nil
	}
	first, last := o.Events[0].Sub, o.Events[0].Sub
	for _, e := range o.Events {
		first, last = min(first, e.Sub), max(last, e.Sub)
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO search_past AS p (room_nid, position, first_sub, last_sub) VALUES ($1, $2, $3, $4)
		ON CONFLICT (position, room_nid) DO UPDATE SET first_sub = least(p.first_sub, excluded.first_sub), last_sub = greatest(p.last_sub, excluded.last_sub)`,
		o.Gap.RoomNID, o.Gap.Position, first, last)
	if err != nil {
		return fmt.Errorf("noting old events for the search: %w", err)
	}
	return nil
}

// NextSearchPast returns a piece of the past that is to be indexed and isn't behind a position, or ErrNotFound.
func (db *DB) NextSearchPast(ctx context.Context, upTo Position) (p SearchPast, err error) {
	err = db.scanRow(ctx, `SELECT room_nid, position, first_sub, last_sub FROM search_past WHERE position <= $1 ORDER BY position LIMIT 1`, []any{upTo},
		&p.RoomNID, &p.Position, &p.First, &p.Last)
	return p, notFound("reading what of the past is to be indexed", err)
}

// SearchablePast returns up to limit events of a piece of the past that can be searched for, and redactions, the
// newest first.
func (db *DB) SearchablePast(ctx context.Context, p SearchPast, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.room_nid = $1 AND e.position = $2 AND e.sub BETWEEN $3 AND $4 AND e.flags & 7 = 0
			AND (e.type IN `+searchable+` OR e.type = 'm.room.redaction')
		ORDER BY e.sub DESC LIMIT $5`, p.RoomNID, p.Position, p.First, p.Last, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading what can be searched for of the past: %w", err)
	}
	return events, nil
}

// SaveSearchPast writes a block, unless it is nil, of a piece of the past, of which what is older than
// a place remains to be indexed. It returns ErrOvertaken if somebody else has done that.
func (db *DB) SaveSearchPast(ctx context.Context, p SearchPast, downTo int32, b *SearchBlock) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		// The piece may have grown at its other end.
		res, err := tx.ExecContext(ctx, `UPDATE search_past SET last_sub = $4 - 1 WHERE position = $1 AND room_nid = $2 AND last_sub = $3`,
			p.Position, p.RoomNID, p.Last, downTo)
		if err != nil {
			return fmt.Errorf("moving the search index in the past: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return ErrOvertaken
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM search_past WHERE position = $1 AND room_nid = $2 AND last_sub < first_sub`, p.Position, p.RoomNID); err != nil {
			return fmt.Errorf("moving the search index in the past: %w", err)
		}
		return insertSearchBlock(ctx, tx, b)
	})
}
