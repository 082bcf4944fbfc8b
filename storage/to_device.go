package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// ToDevice is a message to a device. Content is the event as the device gets it.
type ToDevice struct {
	Position         Position
	UserID, DeviceID string
	Content          []byte
}

// RemoteToDevice are messages to devices of a server's users. Content is an
// m.direct_to_device as the server is sent it.
type RemoteToDevice struct {
	Position Position
	Server   string
	Content  []byte
}

// DeviceListChange says that a user's devices or their keys have changed.
type DeviceListChange struct {
	Position Position
	UserID   string
	// Announce is whether other servers are to be told; then DeviceID is the device that
	// changed, "" for the cross-signing keys.
	Announce bool
	DeviceID string
}

// ListToDevice returns up to limit of a device's messages after one position and
// up to another, in order.
func (db *DB) ListToDevice(ctx context.Context, userID, deviceID string, after, upTo Position, limit int) ([]ToDevice, error) {
	rows, err := db.query(ctx, `SELECT position, content FROM to_device
		WHERE user_id = $1 AND device_id = $2 AND position > $3 AND position <= $4 ORDER BY position LIMIT $5`,
		userID, deviceID, after, upTo, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (m ToDevice, err error) {
		return m, r.Scan(&m.Position, &m.Content)
	})
	if err != nil {
		return nil, fmt.Errorf("reading messages to a device: %w", err)
	}
	return list, nil
}

// DeleteToDevice removes the messages that a device has acknowledged.
func (db *DB) DeleteToDevice(ctx context.Context, userID, deviceID string, upTo Position) error {
	if _, err := db.exec(ctx, `DELETE FROM to_device WHERE user_id = $1 AND device_id = $2 AND position <= $3`, userID, deviceID, upTo); err != nil {
		return fmt.Errorf("removing messages to a device: %w", err)
	}
	return nil
}

// CountToDevice counts what waits for each of a user's devices.
func (db *DB) CountToDevice(ctx context.Context, userID string) (map[string]int, error) {
	rows, err := db.query(ctx, `SELECT d.device_id, (SELECT count(*) FROM to_device t WHERE t.user_id = d.user_id AND t.device_id = d.device_id)
		FROM devices d WHERE d.user_id = $1`, userID)
	counts := map[string]int{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var id string
		var n int
		err := r.Scan(&id, &n)
		counts[id] = n
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("counting messages to devices: %w", err)
	}
	return counts, nil
}

// DeviceListsChanged returns whose devices changed after one position and up to
// another.
func (db *DB) DeviceListsChanged(ctx context.Context, after, upTo Position) ([]string, error) {
	rows, err := db.query(ctx, `SELECT user_id FROM device_lists WHERE position > $1 AND position <= $2`, after, upTo)
	list, err := collect(rows, err, func(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) })
	if err != nil {
		return nil, fmt.Errorf("reading changed device lists: %w", err)
	}
	return list, nil
}

// DeviceIDs returns the ids of all devices of the users.
func (db *DB) DeviceIDs(ctx context.Context, userIDs []string) (map[string][]string, error) {
	rows, err := db.query(ctx, `SELECT user_id, device_id FROM devices WHERE user_id = ANY($1)`, pq.StringArray(userIDs))
	ids := map[string][]string{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var user, device string
		err := r.Scan(&user, &device)
		ids[user] = append(ids[user], device)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading devices: %w", err)
	}
	return ids, nil
}
