package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lib/pq"
)

// RemoteDeviceList is what is known of the devices of a user of another server.
type RemoteDeviceList struct {
	UserID string
	// StreamID is the newest change that it holds, 0 for not known.
	StreamID int64
	// Changes counts what was heard of.
	Changes int64
	// CheckedAt is when the user's server was asked, in milliseconds since 1970.
	CheckedAt           int64
	Stale               bool
	Master, SelfSigning json.RawMessage // nil for none
	Devices             map[string]json.RawMessage
}

// RemoteDeviceLists returns what is known of the users' devices, by user.
func (db *DB) RemoteDeviceLists(ctx context.Context, users []string) (map[string]*RemoteDeviceList, error) {
	found := map[string]*RemoteDeviceList{}
	err := db.snapshot(ctx, func(db *DB) error {
		rows, err := db.query(ctx, `SELECT user_id, stream_id, changes, checked_at, stale, master, self_signing
			FROM remote_device_lists WHERE user_id = ANY($1)`, pq.StringArray(users))
		_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
			l := &RemoteDeviceList{Devices: map[string]json.RawMessage{}}
			var master, selfSigning string
			err := r.Scan(&l.UserID, &l.StreamID, &l.Changes, &l.CheckedAt, &l.Stale, &master, &selfSigning)
			if master != "" {
				l.Master = json.RawMessage(master)
			}
			if selfSigning != "" {
				l.SelfSigning = json.RawMessage(selfSigning)
			}
			found[l.UserID] = l
			return struct{}{}, err
		})
		if err != nil {
			return err
		}
		rows, err = db.query(ctx, `SELECT user_id, device_id, json FROM remote_devices WHERE user_id = ANY($1)`, pq.StringArray(users))
		_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
			var user, device, text string
			err := r.Scan(&user, &device, &text)
			if l := found[user]; l != nil {
				l.Devices[device] = json.RawMessage(text)
			}
			return struct{}{}, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the devices of other servers' users: %w", err)
	}
	return found, nil
}

// ExpectRemoteDeviceLists notes that the users' servers are about to be asked: what is
// heard of them from now on counts.
func (db *DB) ExpectRemoteDeviceLists(ctx context.Context, users []string) error {
	slices.Sort(users)
	if _, err := db.exec(ctx, `INSERT INTO remote_device_lists (user_id) SELECT * FROM unnest($1::text[]) ON CONFLICT DO NOTHING`,
		pq.StringArray(users)); err != nil {
		return fmt.Errorf("noting whose devices are asked for: %w", err)
	}
	return nil
}

// SetRemoteDeviceList stores what a user's server answered, unless more has been heard
// of since l.Changes.
func (db *DB) SetRemoteDeviceList(ctx context.Context, l *RemoteDeviceList) error {
	err := db.inTx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE remote_device_lists
			SET stale = false, stream_id = $2, checked_at = $3, master = $4, self_signing = $5 WHERE user_id = $1 AND changes = $6`,
			l.UserID, l.StreamID, l.CheckedAt, string(l.Master), string(l.SelfSigning), l.Changes)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n == 0 || err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM remote_devices WHERE user_id = $1`, l.UserID); err != nil {
			return err
		}
		var device, text textArray
		for id, raw := range l.Devices {
			device.add(id)
			text.add(string(raw))
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO remote_devices (user_id, device_id, json)
			SELECT $1, * FROM unnest($2::text[], $3::text[])`, l.UserID, &device, &text)
		return err
	})
	if err != nil {
		return fmt.Errorf("storing the devices of %s: %w", l.UserID, err)
	}
	return nil
}

// RemoteDeviceUpdate is what a server says of a device of its user. JSON is nil for a
// device that is gone.
type RemoteDeviceUpdate struct {
	UserID, DeviceID string
	StreamID         int64
	Previous         []int64
	JSON             json.RawMessage
}

// UpdateRemoteDevice takes over an update if it comes right after what is known; else
// what is known is stale. known is false for a user of whom nothing is.
func (db *DB) UpdateRemoteDevice(ctx context.Context, u RemoteDeviceUpdate) (known, stale bool, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		var last int64
		err := tx.QueryRowContext(ctx, `SELECT stream_id, stale FROM remote_device_lists WHERE user_id = $1 FOR UPDATE`, u.UserID).Scan(&last, &stale)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		known = true
		if last == u.StreamID && !stale {
			return nil
		}
		stale = stale || last == 0 || len(u.Previous) == 0 || slices.ContainsFunc(u.Previous, func(p int64) bool { return p != last })
		if _, err := tx.ExecContext(ctx, `UPDATE remote_device_lists SET changes = changes + 1, stale = $2,
			stream_id = CASE WHEN $2 THEN stream_id ELSE $3 END WHERE user_id = $1`, u.UserID, stale, u.StreamID); err != nil {
			return err
		}
		if u.JSON == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM remote_devices WHERE user_id = $1 AND device_id = $2`, u.UserID, u.DeviceID)
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO remote_devices (user_id, device_id, json) VALUES ($1, $2, $3)
			ON CONFLICT (user_id, device_id) DO UPDATE SET json = excluded.json`, u.UserID, u.DeviceID, string(u.JSON))
		return err
	})
	if err != nil {
		return false, false, fmt.Errorf("updating a device of %s: %w", u.UserID, err)
	}
	return known, stale, nil
}

// UpdateRemoteSigningKeys takes over those cross-signing keys of a user that are given.
func (db *DB) UpdateRemoteSigningKeys(ctx context.Context, userID string, master, selfSigning json.RawMessage) error {
	_, err := db.exec(ctx, `UPDATE remote_device_lists SET changes = changes + 1,
		master = CASE WHEN $2 = '' THEN master ELSE $2 END, self_signing = CASE WHEN $3 = '' THEN self_signing ELSE $3 END
		WHERE user_id = $1`, userID, string(master), string(selfSigning))
	if err != nil {
		return fmt.Errorf("updating the cross-signing keys of %s: %w", userID, err)
	}
	return nil
}

// MarkRemoteDevicesStale notes that what is known of users' devices may be outdated, and
// returns of which of them anything is known.
func (db *DB) MarkRemoteDevicesStale(ctx context.Context, users []string) ([]string, error) {
	return db.changedRemoteLists(ctx, `UPDATE remote_device_lists SET changes = changes + 1, stale = true WHERE user_id = ANY($1) RETURNING user_id`, users)
}

// DeleteRemoteDeviceLists forgets what is known of users' devices.
func (db *DB) DeleteRemoteDeviceLists(ctx context.Context, users []string) error {
	_, err := db.changedRemoteLists(ctx, `DELETE FROM remote_device_lists WHERE user_id = ANY($1) RETURNING user_id`, users)
	return err
}

func (db *DB) changedRemoteLists(ctx context.Context, query string, users []string) ([]string, error) {
	rows, err := db.query(ctx, query, pq.StringArray(users))
	list, err := collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("noting what is known of users' devices: %w", err)
	}
	return list, nil
}

// StaleRemoteUsers returns up to limit users whose devices are to be asked for again,
// in the order of their ids, after one.
func (db *DB) StaleRemoteUsers(ctx context.Context, after string, limit int) ([]string, error) {
	return db.remoteUsers(ctx, `SELECT user_id FROM remote_device_lists WHERE stale AND user_id > $1 ORDER BY user_id LIMIT $2`, after, limit)
}

// KnownRemoteUsers returns up to limit users of whose devices anything is known.
func (db *DB) KnownRemoteUsers(ctx context.Context, after string, limit int) ([]string, error) {
	return db.remoteUsers(ctx, `SELECT user_id FROM remote_device_lists WHERE user_id > $1 ORDER BY user_id LIMIT $2`, after, limit)
}

// KnownRemoteUsersIn returns who of those in a room is known.
func (db *DB) KnownRemoteUsersIn(ctx context.Context, room int64) ([]string, error) {
	return db.remoteUsers(ctx, `SELECT user_id FROM remote_device_lists JOIN memberships USING (user_id) WHERE room_nid = $1`, room)
}

func (db *DB) remoteUsers(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := db.query(ctx, query, args...)
	list, err := collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("reading whose devices are known: %w", err)
	}
	return list, nil
}
