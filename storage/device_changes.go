package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// DeviceListPosition is the newest change of the user's devices that other servers
// are told of, 0 for none.
func (db *DB) DeviceListPosition(ctx context.Context, userID string) (Position, error) {
	var p Position
	err := db.scanRow(ctx, `SELECT coalesce((SELECT max(position) FROM device_changes WHERE user_id = $1 AND device_id <> ''), 0)`, []any{userID}, &p)
	if err != nil {
		return 0, fmt.Errorf("reading when devices changed: %w", err)
	}
	return p, nil
}

// DeviceChange is the newest change of a device, or with DeviceID "" of a user's
// cross-signing keys.
type DeviceChange struct {
	Position, Previous Position
	Deleted            bool
	UserID, DeviceID   string
}

const deviceChangeColumns = ` position, previous, deleted, user_id, device_id `

func scanDeviceChange(r *sql.Rows) (c DeviceChange, err error) {
	return c, r.Scan(&c.Position, &c.Previous, &c.Deleted, &c.UserID, &c.DeviceID)
}

// DeviceChanges returns up to limit changes after a position and up to another, in
// order.
func (db *DB) DeviceChanges(ctx context.Context, after, upTo Position, limit int) ([]DeviceChange, error) {
	rows, err := db.query(ctx, `SELECT`+deviceChangeColumns+`FROM device_changes
		WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3`, after, upTo, limit)
	list, err := collect(rows, err, scanDeviceChange)
	if err != nil {
		return nil, fmt.Errorf("reading changes of devices: %w", err)
	}
	return list, nil
}

// DeviceChangesAt returns those of the changes at the positions that are still the
// newest of their devices.
func (db *DB) DeviceChangesAt(ctx context.Context, positions []Position) ([]DeviceChange, error) {
	rows, err := db.query(ctx, `SELECT`+deviceChangeColumns+`FROM device_changes WHERE position = ANY($1) ORDER BY position`, nids(positions))
	list, err := collect(rows, err, scanDeviceChange)
	if err != nil {
		return nil, fmt.Errorf("reading changes of devices: %w", err)
	}
	return list, nil
}

// UnannouncedDevices returns the devices of a user, or of all users for "", that came or
// went and of which nobody has been told yet.
func (db *DB) UnannouncedDevices(ctx context.Context, userID string) ([]DeviceListChange, error) {
	rows, err := db.query(ctx, `
		SELECT user_id, device_id FROM device_keys k WHERE ($1 = '' OR user_id = $1) AND NOT EXISTS (
			SELECT 1 FROM device_changes c WHERE c.user_id = k.user_id AND c.device_id = k.device_id AND NOT c.deleted)
		UNION ALL
		SELECT user_id, device_id FROM device_changes c WHERE ($1 = '' OR user_id = $1) AND device_id <> '' AND NOT deleted AND NOT EXISTS (
			SELECT 1 FROM device_keys k WHERE c.user_id = k.user_id AND c.device_id = k.device_id)`, userID)
	list, err := collect(rows, err, func(r *sql.Rows) (c DeviceListChange, err error) {
		c.Announce = true
		return c, r.Scan(&c.UserID, &c.DeviceID)
	})
	if err != nil {
		return nil, fmt.Errorf("looking for devices that weren't announced: %w", err)
	}
	return list, nil
}

// DeviceChangesOf returns the changes of the users' devices after a position.
func (db *DB) DeviceChangesOf(ctx context.Context, users []string, after Position) ([]DeviceChange, error) {
	rows, err := db.query(ctx, `SELECT`+deviceChangeColumns+`FROM device_changes
		WHERE user_id = ANY($1) AND position > $2 ORDER BY position`, pq.StringArray(users), after)
	list, err := collect(rows, err, scanDeviceChange)
	if err != nil {
		return nil, fmt.Errorf("reading changes of users' devices: %w", err)
	}
	return list, nil
}

// NewestDevice returns the user's device that changed last, or without any keys the one that
// was made last; "" for none.
func (db *DB) NewestDevice(ctx context.Context, userID string) (deviceID string, err error) {
	err = db.scanRow(ctx, `SELECT coalesce(
		(SELECT device_id FROM device_changes WHERE user_id = $1 AND device_id <> '' AND NOT deleted ORDER BY position DESC LIMIT 1),
		(SELECT device_id FROM devices WHERE user_id = $1 ORDER BY created_at DESC, device_id LIMIT 1), '')`, []any{userID}, &deviceID)
	if err != nil {
		return "", fmt.Errorf("looking for a user's newest device: %w", err)
	}
	return deviceID, nil
}

// ForgetDeletedDevices removes the changes of devices that are gone, of which every
// server has been told.
func (db *DB) ForgetDeletedDevices(ctx context.Context, upTo Position) error {
	if _, err := db.exec(ctx, `DELETE FROM device_changes c WHERE deleted AND position <= $1 AND position < (
		SELECT max(o.position) FROM device_changes o WHERE o.user_id = c.user_id AND o.device_id <> '')`, upTo); err != nil {
		return fmt.Errorf("forgetting deleted devices: %w", err)
	}
	return nil
}
