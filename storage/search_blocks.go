package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// SearchBlock is a row of the search index; see migrations/0025_search.sql. Its messages follow one another in the
// stream or, if LastSub is negative, in what was fetched of a room's past.
type SearchBlock struct {
	NID         int64
	First, Last Position
	LastSub     int32
	EventNIDs   []int64
	RoomNIDs    []int64
	// Words is the text of a tsvector.
	Words string
}

// SearchProgress returns up to where the stream is in the search index.
func (db *DB) SearchProgress(ctx context.Context) (p Position, err error) {
	if err := db.scanRow(ctx, `SELECT position FROM search_progress`, nil, &p); err != nil {
		return 0, fmt.Errorf("reading the search index's position: %w", err)
	}
	return p, nil
}

// SaveSearchBlock moves the search index from one position to another and writes the
// block, unless nil, that lies between. It returns ErrOvertaken if somebody else has
// moved it.
func (db *DB) SaveSearchBlock(ctx context.Context, from, to Position, b *SearchBlock) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE search_progress SET position = $2 WHERE position = $1`, from, to)
		if err != nil {
			return fmt.Errorf("moving the search index: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return ErrOvertaken
		}
		return insertSearchBlock(ctx, tx, b)
	})
}

// insertSearchBlock inserts a block, unless it is nil.
func insertSearchBlock(ctx context.Context, tx *sql.Tx, b *SearchBlock) error {
	if b == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO search_blocks (first_position, last_position, last_sub, event_nids, room_nids, words) VALUES ($1, $2, $3, $4, $5, $6::tsvector)`,
		b.First, b.Last, b.LastSub, nids(b.EventNIDs), nids(b.RoomNIDs), b.Words)
	if err != nil {
		return fmt.Errorf("writing to the search index: %w", err)
	}
	return nil
}

// SearchBlockOf returns the block that an event at the place is in, or ErrNotFound: among those of its kind, that can
// only be the first that doesn't end before it.
func (db *DB) SearchBlockOf(ctx context.Context, event int64, at Place) (*SearchBlock, error) {
	var b SearchBlock
	err := db.scanRow(ctx, `
		SELECT nid, first_position, last_position, last_sub, event_nids, room_nids FROM (
			SELECT * FROM search_blocks WHERE (last_position, last_sub) >= ($2, $3) AND (last_sub < 0) = ($3 < 0)
			ORDER BY last_position, last_sub LIMIT 1
		) AS b WHERE $1 = ANY(event_nids)`, []any{event, at.Position, at.Sub},
		&b.NID, &b.First, &b.Last, &b.LastSub, (*pq.Int64Array)(&b.EventNIDs), (*pq.Int64Array)(&b.RoomNIDs))
	return &b, notFound("reading the search index", err)
}

// SearchBlocksEnd returns the place before which the blocks end that have something
// from a place or before it.
func (db *DB) SearchBlocksEnd(ctx context.Context, at Place) (end Place, err error) {
	// What is in the block of the stream with this place may be older than whole blocks of the past.
	err = db.scanRow(ctx, `SELECT coalesce(min(last_position) + 1, 9223372036854775807) FROM search_blocks WHERE last_position >= $1 AND last_sub = 0`,
		[]any{at.Position}, &end.Position)
	return end, wrapped("reading the search index", err)
}

// ReplaceSearchWords writes the words of a block anew.
func (db *DB) ReplaceSearchWords(ctx context.Context, block int64, words string) error {
	if _, err := db.exec(ctx, `UPDATE search_blocks SET words = $2::tsvector WHERE nid = $1`, block, words); err != nil {
		return fmt.Errorf("writing to the search index: %w", err)
	}
	return nil
}

// searchable are the types of events that can be searched for.
const searchable = `('m.room.message', 'm.room.name', 'm.room.topic')`

// SearchableAfter returns up to limit events between two positions that can be searched
// for, and redactions, in the stream's order.
func (db *DB) SearchableAfter(ctx context.Context, after, upTo Position, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.position > $1 AND e.position <= $2 AND e.sub = 0 AND e.flags & 7 = 0
			AND (e.type IN `+searchable+` OR e.type = 'm.room.redaction')
		ORDER BY e.position LIMIT $3`, after, upTo, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading what can be searched for: %w", err)
	}
	return events, nil
}

// NewestSearchable returns up to limit events of the rooms between two positions that
// can be searched for, the newest first.
func (db *DB) NewestSearchable(ctx context.Context, rooms []int64, after, upTo Position, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.position > $2 AND e.position <= $3 AND e.sub = 0 AND e.flags & 7 = 0 AND e.redacted_by IS NULL
			AND e.type IN `+searchable+` AND e.room_nid = ANY($1)
		ORDER BY e.position DESC LIMIT $4`, nids(rooms), after, upTo, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading the newest that can be searched for: %w", err)
	}
	return events, nil
}
