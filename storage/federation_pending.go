package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// GetFederationCursor returns up to where a server has been sent what concerns it, and
// false if it was never to be sent anything.
func (db *DB) GetFederationCursor(ctx context.Context, server string) (c FederationCursor, known bool, err error) {
	c.Server = server
	err = db.scanRow(ctx, `SELECT position, succeeded_at FROM federation_cursors WHERE server = $1`, []any{server}, &c.Position, &c.SucceededAt)
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("reading how far %s was sent events: %w", server, err)
	}
	return c, true, nil
}

// Pending is what waits to be sent to a server.
type Pending struct {
	Events, ToDevice int
	OldestTS         int64 // of the events, 0 for none
}

// PendingFor counts up to limit each of one server's events and of its messages to devices
// that wait for another, which has been sent everything up to a position. It reads the
// memberships of everybody in the other's rooms, and every event after the position: it is
// for admins.
func (db *DB) PendingFor(ctx context.Context, own, server string, after Position, limit int) (p Pending, err error) {
	err = db.scanRow(ctx, `
		WITH shared AS MATERIALIZED (
			SELECT DISTINCT room_nid FROM memberships WHERE membership = 'join' AND right(user_id, length($2) + 1) = ':' || $2)
		SELECT count(*), coalesce(min(origin_ts), 0) FROM (
			SELECT origin_ts FROM events
			WHERE position > $3 AND position IS NOT NULL AND flags & 23 = 0 AND sub = 0
				AND (right(sender, length($1) + 1) = ':' || $1 OR flags & 8 <> 0)
				AND (room_nid IN (SELECT room_nid FROM shared) OR type = 'm.room.member' AND right(state_key, length($2) + 1) = ':' || $2)
			ORDER BY position LIMIT $4) AS waiting`, []any{own, server, after, limit}, &p.Events, &p.OldestTS)
	if err != nil {
		return p, fmt.Errorf("counting the events that wait for %s: %w", server, err)
	}
	p.ToDevice, err = db.CountRemoteToDevice(ctx, server, limit)
	return p, err
}
