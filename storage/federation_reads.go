package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// ReceiptsBySendersOf returns up to limit public receipts of one server's users after a
// position and up to another, in the stream's order.
func (db *DB) ReceiptsBySendersOf(ctx context.Context, server string, after, upTo Position, limit int) ([]Receipt, error) {
	rows, err := db.query(ctx, `
		SELECT x.room_nid, r.room_id, x.position, x.ts, x.event_position, x.user_id, x.receipt_type, x.thread_id, x.event_id
		FROM receipts x JOIN rooms r ON r.nid = x.room_nid
		WHERE x.position > $2 AND x.position <= $3 AND x.receipt_type = 'm.read' AND right(x.user_id, length($1) + 1) = ':' || $1
		ORDER BY x.position LIMIT $4`, server, after, upTo, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (x Receipt, err error) {
		return x, r.Scan(&x.RoomNID, &x.RoomID, &x.Position, &x.TS, &x.EventPosition, &x.UserID, &x.Type, &x.ThreadID, &x.EventID)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the receipts to send: %w", err)
	}
	return list, nil
}

// PresenceOf returns up to limit presences of one server's users that changed after a
// position and up to another, in the stream's order.
func (db *DB) PresenceOf(ctx context.Context, server string, after, upTo Position, limit int) ([]Presence, error) {
	rows, err := db.query(ctx, `
		SELECT user_id, position, last_active_ts, state, status_msg FROM presence
		WHERE position > $2 AND position <= $3 AND right(user_id, length($1) + 1) = ':' || $1 ORDER BY position LIMIT $4`,
		server, after, upTo, limit)
	list, err := collect(rows, err, scanPresence)
	if err != nil {
		return nil, fmt.Errorf("reading the presence to send: %w", err)
	}
	return list, nil
}

func scanPresence(r *sql.Rows) (p Presence, err error) {
	return p, r.Scan(&p.UserID, &p.Position, &p.LastActiveTS, &p.State, &p.StatusMsg)
}

// ListRemoteToDevice returns up to limit messages to devices of a server's users, or of
// all servers' for "", after a position and up to another, in order.
func (db *DB) ListRemoteToDevice(ctx context.Context, server string, after, upTo Position, limit int) ([]RemoteToDevice, error) {
	query, args := `SELECT position, server, content FROM federation_to_device
		WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3`, []any{after, upTo, limit}
	if server != "" {
		query, args = `SELECT position, server, content FROM federation_to_device
		WHERE server = $4 AND position > $1 AND position <= $2 ORDER BY position LIMIT $3`, append(args, server)
	}
	rows, err := db.query(ctx, query, args...)
	list, err := collect(rows, err, func(r *sql.Rows) (m RemoteToDevice, err error) {
		return m, r.Scan(&m.Position, &m.Server, &m.Content)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the messages to devices to send: %w", err)
	}
	return list, nil
}

// DeleteRemoteToDevice removes the messages to devices that a server has taken.
func (db *DB) DeleteRemoteToDevice(ctx context.Context, server string, upTo Position) error {
	if _, err := db.exec(ctx, `DELETE FROM federation_to_device WHERE server = $1 AND position <= $2`, server, upTo); err != nil {
		return fmt.Errorf("removing messages to devices that were sent: %w", err)
	}
	return nil
}

// CountRemoteToDevice counts the messages that wait for a server, up to limit.
func (db *DB) CountRemoteToDevice(ctx context.Context, server string, limit int) (n int, err error) {
	err = db.scanRow(ctx, `SELECT count(*) FROM (SELECT 1 FROM federation_to_device WHERE server = $1 LIMIT $2) AS waiting`,
		[]any{server, limit}, &n)
	if err != nil {
		return 0, fmt.Errorf("counting messages to devices to send: %w", err)
	}
	return n, nil
}

// LatestOfRooms returns what the servers in each room must be sent of what one server's
// users did after a position and up to another, when it is too much to send all: of each
// room the last event, and the last membership of a user of the other server's, from which
// that server finds the others, and those that are sticky. Up to limit events, in the
// stream's order.
func (db *DB) LatestOfRooms(ctx context.Context, from, to string, after, upTo Position, limit int, now time.Time) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM rooms r CROSS JOIN LATERAL (
			(SELECT * FROM events WHERE room_nid = r.nid AND position > $3 AND position <= $4 AND position IS NOT NULL
				AND flags & 23 = 0 AND sub = 0 AND right(sender, length($1) + 1) = ':' || $1
				ORDER BY position DESC LIMIT 1)
			UNION
			(SELECT * FROM events WHERE room_nid = r.nid AND type = 'm.room.member' AND state_key IS NOT NULL
				AND position > $3 AND position <= $4 AND flags & 23 = 0 AND sub = 0
				AND right(state_key, length($2) + 1) = ':' || $2 AND right(sender, length($1) + 1) = ':' || $1
				ORDER BY position DESC LIMIT 1)
			UNION
			(SELECT * FROM events WHERE room_nid = r.nid AND sticky_until > $6 AND position > $3 AND position <= $4
				AND flags & 23 = 0 AND sub = 0 AND right(sender, length($1) + 1) = ':' || $1)) AS e
		WHERE r.latest_position > $3 ORDER BY e.position LIMIT $5`, from, to, after, upTo, limit, now.UnixMilli())
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading the last events of rooms: %w", err)
	}
	return events, nil
}

// RoomRef names a room.
type RoomRef struct {
	NID int64
	ID  string
}

// RoomsOfUsers returns the rooms that each of the users has joined, as far as this
// server knows.
func (db *DB) RoomsOfUsers(ctx context.Context, users []string) (map[string][]RoomRef, error) {
	rows, err := db.query(ctx, `SELECT m.user_id, r.nid, r.room_id FROM memberships m JOIN rooms r ON r.nid = m.room_nid
		WHERE m.user_id = ANY($1) AND m.membership = 'join'`, pq.StringArray(users))
	joined := map[string][]RoomRef{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var user string
		var room RoomRef
		err := r.Scan(&user, &room.NID, &room.ID)
		joined[user] = append(joined[user], room)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the rooms of users: %w", err)
	}
	return joined, nil
}
