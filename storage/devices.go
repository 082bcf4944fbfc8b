package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// Device is one of a user's devices.
type Device struct {
	ID          string
	DisplayName string // "" for none
	LastSeenIP  string // "" if never seen
	LastSeenAt  time.Time
	UserAgent   string
}

// ListDevices returns the user's devices, oldest first.
func (db *DB) ListDevices(ctx context.Context, userID string) ([]Device, error) {
	rows, err := db.query(ctx, `
		SELECT device_id, display_name, last_seen_ip, last_seen_at, user_agent
		FROM devices WHERE user_id = $1 ORDER BY created_at, device_id`, userID)
	devices, err := collect(rows, err, scanDevice)
	if err != nil {
		return nil, fmt.Errorf("listing devices: %w", err)
	}
	return devices, nil
}

func scanDevice(r *sql.Rows) (d Device, err error) {
	var seen sql.NullTime
	err = r.Scan(&d.ID, &d.DisplayName, &d.LastSeenIP, &seen, &d.UserAgent)
	d.LastSeenAt = seen.Time
	return d, err
}

// GetDevice returns one device of a user, or ErrNotFound.
func (db *DB) GetDevice(ctx context.Context, userID, deviceID string) (*Device, error) {
	d := Device{ID: deviceID}
	var seen sql.NullTime
	err := db.scanRow(ctx, `
		SELECT display_name, last_seen_ip, last_seen_at FROM devices WHERE user_id = $1 AND device_id = $2`,
		[]any{userID, deviceID}, &d.DisplayName, &d.LastSeenIP, &seen)
	if err := notFound("reading a device", err); err != nil {
		return nil, err
	}
	d.LastSeenAt = seen.Time
	return &d, nil
}

// DevicesBeyond returns those of the user's devices that are more than keep, the ones used longest
// ago, without a dehydrated one.
func (db *DB) DevicesBeyond(ctx context.Context, userID string, keep int) ([]string, error) {
	rows, err := db.query(ctx, `
		SELECT device_id FROM devices d WHERE user_id = $1 AND NOT EXISTS (
			SELECT FROM dehydrated_devices h WHERE h.user_id = d.user_id AND h.device_id = d.device_id)
		ORDER BY coalesce(last_seen_at, created_at) DESC OFFSET $2`, userID, keep)
	list, err := collect(rows, err, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("looking for a user's oldest devices: %w", err)
	}
	return list, nil
}

// RenameDevice sets a device's display name, or returns ErrNotFound.
func (db *DB) RenameDevice(ctx context.Context, userID, deviceID, name string) error {
	n, err := db.exec(ctx, `
		UPDATE devices SET display_name = $3 WHERE user_id = $1 AND device_id = $2`, userID, deviceID, name)
	return oneRow("renaming a device", n, err)
}

// DeleteDevices deletes those of the user's devices that exist, with their
// tokens, and returns the tokens that are no longer valid.
func (db *DB) DeleteDevices(ctx context.Context, userID string, deviceIDs []string) (gone []TokenHash, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		gone, err = deleteDevices(ctx, tx, userID, deviceIDs, "")
		return err
	})
	return gone, err
}

// DeleteOtherDevices deletes all of the user's devices but one, or all if keep is
// "", and returns the tokens that are no longer valid.
func (db *DB) DeleteOtherDevices(ctx context.Context, userID, keep string) (gone []TokenHash, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		gone, err = deleteDevices(ctx, tx, userID, nil, keep)
		return err
	})
	return gone, err
}

// deleteDevices deletes the given devices, or with nil all but keep. They are
// locked first, so that no session can be made for a device that is going away,
// and their tokens deleted by themselves because a cascade returns nothing.
func deleteDevices(ctx context.Context, tx *sql.Tx, userID string, deviceIDs []string, keep string) ([]TokenHash, error) {
	const which = ` WHERE user_id = $1 AND ($2::text[] IS NULL OR device_id = ANY($2)) AND device_id <> $3`
	args := []any{userID, pq.StringArray(deviceIDs), keep}
	if _, err := tx.ExecContext(ctx, `SELECT 1 FROM devices`+which+` FOR UPDATE`, args...); err != nil {
		return nil, fmt.Errorf("locking devices: %w", err)
	}
	rows, err := tx.QueryContext(ctx, `DELETE FROM tokens`+which+` RETURNING access_hash`, args...)
	gone, err := collect(rows, err, scanHash)
	if err != nil {
		return nil, fmt.Errorf("deleting the tokens of devices: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM devices`+which, args...); err != nil {
		return nil, fmt.Errorf("deleting devices: %w", err)
	}
	return gone, nil
}

// Sighting is when and from where a device was last seen.
type Sighting struct {
	UserID, DeviceID string
	At               time.Time
	IP, UserAgent    string
}

// RecordSightings updates when devices were last seen, many at once. Devices that
// are gone are ignored.
func (db *DB) RecordSightings(ctx context.Context, seen []Sighting) error {
	var user, device, ip, agent textArray
	var at intArray
	for _, s := range seen {
		user.add(s.UserID)
		device.add(s.DeviceID)
		ip.add(s.IP)
		agent.add(s.UserAgent)
		at.add(s.At.UnixMilli())
	}
	_, err := db.exec(ctx, `
		UPDATE devices d SET last_seen_at = to_timestamp(s.at / 1000.0), last_seen_ip = s.ip, user_agent = s.agent
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) AS s (user_id, device_id, ip, agent, at)
		WHERE d.user_id = s.user_id AND d.device_id = s.device_id`, &user, &device, &ip, &agent, &at)
	if err != nil {
		return fmt.Errorf("recording when devices were seen: %w", err)
	}
	return nil
}
