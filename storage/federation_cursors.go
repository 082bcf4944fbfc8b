package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// FederationCursors returns up to which position each server has been sent what
// concerns it.
func (db *DB) FederationCursors(ctx context.Context) (map[string]Position, error) {
	rows, err := db.query(ctx, `SELECT server, position FROM federation_cursors`)
	cursors := map[string]Position{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var server string
		var p Position
		err := r.Scan(&server, &p)
		cursors[server] = p
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading how far servers were sent events: %w", err)
	}
	return cursors, nil
}

// SetFederationCursor stores how far a server has been sent; it never goes back.
func (db *DB) SetFederationCursor(ctx context.Context, server string, p Position) error {
	_, err := db.exec(ctx, `
		INSERT INTO federation_cursors (server, position) VALUES ($1, $2)
		ON CONFLICT (server) DO UPDATE SET position = greatest(federation_cursors.position, excluded.position)`, server, p)
	if err != nil {
		return fmt.Errorf("storing how far %s was sent events: %w", server, err)
	}
	return nil
}

// EventsBySendersOf returns up to limit events of one server's users after a position
// and up to another, in the stream's order. It reads every event between, by the
// stream's index.
func (db *DB) EventsBySendersOf(ctx context.Context, server string, after, upTo Position, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.position > $2 AND e.position <= $3 AND e.position IS NOT NULL AND e.flags = 0 AND e.sub = 0
			AND right(e.sender, length($1) + 1) = ':' || $1
		ORDER BY e.position LIMIT $4`, server, after, upTo, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading the events to send: %w", err)
	}
	return events, nil
}
