package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// FederationCursor is up to which position a server has been sent what concerns it.
type FederationCursor struct {
	Server      string
	Position    Position
	SucceededAt int64 // milliseconds since 1970, 0 for never
}

// FederationCursors returns the places of all servers.
func (db *DB) FederationCursors(ctx context.Context) ([]FederationCursor, error) {
	rows, err := db.query(ctx, `SELECT server, position, succeeded_at FROM federation_cursors`)
	list, err := collect(rows, err, func(r *sql.Rows) (c FederationCursor, err error) {
		return c, r.Scan(&c.Server, &c.Position, &c.SucceededAt)
	})
	if err != nil {
		return nil, fmt.Errorf("reading how far servers were sent events: %w", err)
	}
	return list, nil
}

// SetFederationCursor stores how far a server has been sent; it never goes back.
func (db *DB) SetFederationCursor(ctx context.Context, c FederationCursor) error {
	_, err := db.exec(ctx, `
		INSERT INTO federation_cursors (server, position, succeeded_at) VALUES ($1, $2, $3)
		ON CONFLICT (server) DO UPDATE SET position = greatest(federation_cursors.position, excluded.position),
			succeeded_at = greatest(federation_cursors.succeeded_at, excluded.succeeded_at)`, c.Server, c.Position, c.SucceededAt)
	if err != nil {
		return fmt.Errorf("storing how far %s was sent events: %w", c.Server, err)
	}
	return nil
}

// MeetServers stores from where on servers are sent what concerns them, unless they have
// a place already.
func (db *DB) MeetServers(ctx context.Context, from map[string]Position) error {
	var server textArray
	var position intArray
	for name, p := range from {
		server.add(name)
		position.add(p)
	}
	if _, err := db.exec(ctx, `INSERT INTO federation_cursors (server, position) SELECT * FROM unnest($1::text[], $2::bigint[])
		ON CONFLICT DO NOTHING`, &server, &position); err != nil {
		return fmt.Errorf("storing from where on servers are sent events: %w", err)
	}
	return nil
}

// MoveFederationCursors moves the places of servers that have been sent everything.
func (db *DB) MoveFederationCursors(ctx context.Context, servers []string, to Position) error {
	if _, err := db.exec(ctx, `UPDATE federation_cursors SET position = $2 WHERE server = ANY($1) AND position < $2`,
		pq.StringArray(servers), to); err != nil {
		return fmt.Errorf("storing that servers were sent everything: %w", err)
	}
	return nil
}

// DeleteFederationCursor forgets a server, and what waits for its devices.
func (db *DB) DeleteFederationCursor(ctx context.Context, server string) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		for _, query := range []string{`DELETE FROM federation_cursors WHERE server = $1`, `DELETE FROM federation_to_device WHERE server = $1`,
			`DELETE FROM federation_handovers WHERE server = $1`} {
			if _, err := tx.ExecContext(ctx, query, server); err != nil {
				return fmt.Errorf("forgetting how far %s was sent events: %w", server, err)
			}
		}
		return nil
	})
}

// ServersSharing returns the servers with whose users the users of one share rooms.
// It reads all memberships.
func (db *DB) ServersSharing(ctx context.Context, server string) (map[string]bool, error) {
	rows, err := db.query(ctx, `
		WITH ours AS (SELECT DISTINCT room_nid FROM memberships WHERE membership = 'join' AND right(user_id, length($1) + 1) = ':' || $1)
		SELECT DISTINCT substr(user_id, strpos(user_id, ':') + 1) FROM memberships JOIN ours USING (room_nid) WHERE membership = 'join'`, server)
	found := map[string]bool{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var name string
		err := r.Scan(&name)
		found[name] = true
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading which servers share rooms: %w", err)
	}
	return found, nil
}

// EventsBySendersOf returns up to limit events of one server's users, or that it passes
// on, after a position and up to another, in the stream's order. It reads every event between, by the
// stream's index.
func (db *DB) EventsBySendersOf(ctx context.Context, server string, after, upTo Position, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.position > $2 AND e.position <= $3 AND e.position IS NOT NULL AND e.flags & 23 = 0 AND e.sub = 0
			AND (right(e.sender, length($1) + 1) = ':' || $1 OR e.flags & 8 <> 0)
		ORDER BY e.position LIMIT $4`, server, after, upTo, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading the events to send: %w", err)
	}
	return events, nil
}

// MembershipsBetween returns up to limit events about members of any room, after a position and up to
// another, in the stream's order. It reads every event between, by the stream's index.
func (db *DB) MembershipsBetween(ctx context.Context, after, upTo Position, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.position > $1 AND e.position <= $2 AND e.position IS NOT NULL AND e.type = 'm.room.member' AND e.state_key IS NOT NULL
		ORDER BY e.position LIMIT $3`, after, upTo, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading who came: %w", err)
	}
	return events, nil
}

// MoreEventsBySendersOf reports whether EventsBySendersOf would return more events than
// limit.
func (db *DB) MoreEventsBySendersOf(ctx context.Context, server string, after, upTo Position, limit int) (more bool, err error) {
	err = db.scanRow(ctx, `SELECT EXISTS (SELECT 1 FROM events
		WHERE position > $2 AND position <= $3 AND position IS NOT NULL AND flags & 23 = 0 AND sub = 0 AND (right(sender, length($1) + 1) = ':' || $1 OR flags & 8 <> 0)
		ORDER BY position OFFSET $4 LIMIT 1)`, []any{server, after, upTo, limit}, &more)
	if err != nil {
		return false, fmt.Errorf("counting the events to send: %w", err)
	}
	return more, nil
}
