package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrDeviceInUse is the result of naming a dehydrated device as one that is logged in.
var ErrDeviceInUse = errors.New("the device is in use")

// DehydratedDevice is a device that nobody uses, kept for its user's next login.
type DehydratedDevice struct {
	UserID, DeviceID string
	DisplayName      string
	// Data is the device itself, which only its user can decrypt.
	Data json.RawMessage
	// Keys are its identity keys; OneTime and Fallback are for those who write to it.
	Keys              json.RawMessage
	OneTime, Fallback []DeviceKey
}

// SetDehydratedDevice replaces the user's dehydrated device, with its keys and what was
// sent to it. It returns the id of the one that is gone, "" for none, and its tokens,
// should somebody have logged in as that device. Another of the user's devices under
// the id is ErrDeviceInUse, one of their cross-signing keys ErrDeviceIsKey.
func (db *DB) SetDehydratedDevice(ctx context.Context, d *DehydratedDevice) (before string, gone []TokenHash, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		if before, gone, err = removeDehydrated(ctx, tx, d.UserID); err != nil {
			return err
		}
		if err := differsFromKeys(ctx, tx, d.UserID, d.DeviceID); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `
			INSERT INTO devices (user_id, device_id, display_name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			d.UserID, d.DeviceID, d.DisplayName)
		if err != nil {
			return fmt.Errorf("making a dehydrated device: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrDeviceInUse)
		}
		_, err = tx.ExecContext(ctx, `
			WITH kept AS (INSERT INTO dehydrated_devices (user_id, device_id, data) VALUES ($1, $2, $3))
			INSERT INTO device_keys (user_id, device_id, json) VALUES ($1, $2, $4)`, d.UserID, d.DeviceID, string(d.Data), string(d.Keys))
		if err != nil {
			return fmt.Errorf("keeping a dehydrated device: %w", err)
		}
		return addDehydratedKeys(ctx, tx, d)
	})
	db.keyCounts.changed(d.UserID, d.DeviceID)
	return before, gone, err
}

func addDehydratedKeys(ctx context.Context, tx *sql.Tx, d *DehydratedDevice) error {
	for _, k := range d.OneTime {
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, json) VALUES ($1, $2, $3, $4, $5)`,
			d.UserID, d.DeviceID, k.Algorithm, k.KeyID, string(k.JSON)); err != nil {
			return fmt.Errorf("storing a dehydrated device's one-time key: %w", err)
		}
	}
	for _, k := range d.Fallback {
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, json) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (user_id, device_id, algorithm) DO NOTHING`,
			d.UserID, d.DeviceID, k.Algorithm, k.KeyID, string(k.JSON)); err != nil {
			return fmt.Errorf("storing a dehydrated device's fallback key: %w", err)
		}
	}
	return nil
}

// DeleteDehydratedDevice deletes the user's dehydrated device and returns its id, or
// ErrNotFound, and its tokens like SetDehydratedDevice.
func (db *DB) DeleteDehydratedDevice(ctx context.Context, userID string) (deviceID string, gone []TokenHash, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		deviceID, gone, err = removeDehydrated(ctx, tx, userID)
		if err == nil && deviceID == "" {
			return ErrNotFound
		}
		return err
	})
	return deviceID, gone, err
}

// removeDehydrated deletes the user's dehydrated device, if there is one. The lock lets
// one of several new ones be set after another.
func removeDehydrated(ctx context.Context, tx *sql.Tx, userID string) (deviceID string, gone []TokenHash, err error) {
	if _, err := tx.ExecContext(ctx, `SELECT FROM users WHERE user_id = $1 FOR UPDATE`, userID); err != nil {
		return "", nil, fmt.Errorf("locking the user of a dehydrated device: %w", err)
	}
	err = tx.QueryRowContext(ctx, `SELECT device_id FROM dehydrated_devices WHERE user_id = $1`, userID).Scan(&deviceID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("reading the dehydrated device before: %w", err)
	}
	gone, err = deleteDevices(ctx, tx, userID, []string{deviceID}, "")
	return deviceID, gone, err
}

// GetDehydratedDevice returns the user's dehydrated device without its keys, or
// ErrNotFound.
func (db *DB) GetDehydratedDevice(ctx context.Context, userID string) (*DehydratedDevice, error) {
	d := DehydratedDevice{UserID: userID}
	err := db.scanRow(ctx, `SELECT device_id, data FROM dehydrated_devices WHERE user_id = $1`, []any{userID},
		&d.DeviceID, (*[]byte)(&d.Data))
	if err := notFound("reading a dehydrated device", err); err != nil {
		return nil, err
	}
	return &d, nil
}
