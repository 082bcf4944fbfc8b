package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// ToDevice is a message to a device. Content is the event as the device gets it.
type ToDevice struct {
	Position         Position
	UserID, DeviceID string
	Content          []byte
}

// DeviceListChange says that a user's devices or their keys have changed.
type DeviceListChange struct {
	Position Position
	UserID   string
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

// TakeToDeviceTxn notes a to-device request's transaction, and reports whether it
// is new. Those of more than a week ago are forgotten.
func (db *DB) TakeToDeviceTxn(ctx context.Context, key [16]byte) (fresh bool, err error) {
	n, err := db.exec(ctx, `INSERT INTO to_device_txns (txn_key) VALUES ($1) ON CONFLICT DO NOTHING`, uuid.UUID(key))
	if err == nil && n > 0 {
		_, err = db.exec(ctx, `DELETE FROM to_device_txns WHERE created_at < now() - interval '7 days'`)
	}
	if err != nil {
		return false, fmt.Errorf("noting a transaction: %w", err)
	}
	return n > 0, nil
}

// ForgetToDeviceTxn lets a transaction be repeated whose messages weren't stored.
func (db *DB) ForgetToDeviceTxn(ctx context.Context, key [16]byte) error {
	if _, err := db.exec(ctx, `DELETE FROM to_device_txns WHERE txn_key = $1`, uuid.UUID(key)); err != nil {
		return fmt.Errorf("forgetting a transaction: %w", err)
	}
	return nil
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

// writeDevices writes messages to devices that exist, and changed device lists.
func (w *batchWriter) writeDevices(ctx context.Context, p *plan) error {
	var position, listPosition intArray
	var user, device, content, listUser textArray
	lists := map[string]Position{}
	for _, t := range p.tickets {
		for _, m := range t.change.ToDevice {
			position.add(m.Position)
			user.add(m.UserID)
			device.add(m.DeviceID)
			content.add(string(m.Content))
		}
		for _, l := range t.change.DeviceLists {
			lists[l.UserID] = l.Position
		}
	}
	if len(position.buf) > 0 {
		if err := w.exec(ctx, "writing messages to devices", `
			INSERT INTO to_device (position, user_id, device_id, content)
			SELECT m.* FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS m (position, user_id, device_id, content)
			JOIN devices d USING (user_id, device_id)`, &position, &user, &device, &content); err != nil {
			return err
		}
	}
	for userID, at := range lists {
		listUser.add(userID)
		listPosition.add(at)
	}
	if len(lists) == 0 {
		return nil
	}
	return w.exec(ctx, "writing device lists", `
		INSERT INTO device_lists (user_id, position) SELECT * FROM unnest($1::text[], $2::bigint[])
		ON CONFLICT (user_id) DO UPDATE SET position = excluded.position`, &listUser, &listPosition)
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
