package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/lib/pq"
)

// BackedUpKey is the key of a session in a backup. Data is encrypted.
type BackedUpKey struct {
	RoomID, SessionID string
	FirstMessageIndex int64
	ForwardedCount    int64
	IsVerified        bool
	Data              json.RawMessage
}

// PutBackedUpKeys adds keys to the newest version of a user's backup. A key replaces
// another of its session if it is better: verified, or else from an earlier message on,
// or else forwarded less often. Each session may be there once. It returns the backup's
// etag and number of keys, ErrNotFound if there is no such version, *ErrOldBackup if there is a
// newer one, and ErrTooManyKeys if there would be more than limit.
func (db *DB) PutBackedUpKeys(ctx context.Context, userID string, version int64, keys []BackedUpKey, limit int64) (b KeyBackup, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		if b, err = lockKeyBackup(ctx, tx, userID, version); err != nil {
			return err
		}
		var newest int64
		if err := tx.QueryRowContext(ctx, `SELECT max(version) FROM key_backups WHERE user_id = $1 AND NOT deleted`, userID).Scan(&newest); err != nil {
			return fmt.Errorf("reading the newest key backup: %w", err)
		}
		if newest != version {
			return &ErrOldBackup{Current: newest}
		}
		added, changed, err := putKeys(ctx, tx, userID, version, keys)
		if err != nil {
			return err
		}
		if b.Keys+added > limit {
			return ErrTooManyKeys
		}
		if changed == 0 {
			return nil
		}
		return touchKeyBackup(ctx, tx, userID, &b, added)
	})
	return b, err
}

func lockKeyBackup(ctx context.Context, tx *sql.Tx, userID string, version int64) (b KeyBackup, err error) {
	err = tx.QueryRowContext(ctx, `
		SELECT version, etag, keys FROM key_backups WHERE user_id = $1 AND version = $2 AND NOT deleted FOR UPDATE`,
		userID, version).Scan(&b.Version, &b.ETag, &b.Keys)
	return b, notFound("locking a key backup", err)
}

// touchKeyBackup counts keys that came or went.
func touchKeyBackup(ctx context.Context, tx *sql.Tx, userID string, b *KeyBackup, added int64) error {
	b.ETag++
	b.Keys += added
	_, err := tx.ExecContext(ctx, `UPDATE key_backups SET etag = $3, keys = $4 WHERE user_id = $1 AND version = $2`,
		userID, b.Version, b.ETag, b.Keys)
	if err != nil {
		return fmt.Errorf("counting the keys of a backup: %w", err)
	}
	return nil
}

func putKeys(ctx context.Context, tx *sql.Tx, userID string, version int64, keys []BackedUpKey) (added, changed int64, err error) {
	var rooms, sessions, data textArray
	var first, forwarded intArray
	verified := make(pq.BoolArray, 0, len(keys))
	for _, k := range keys {
		rooms.add(k.RoomID)
		sessions.add(k.SessionID)
		data.add(string(k.Data))
		first.add(k.FirstMessageIndex)
		forwarded.add(k.ForwardedCount)
		verified = append(verified, k.IsVerified)
	}
	err = tx.QueryRowContext(ctx, `
		WITH put AS (
			INSERT INTO backed_up_keys AS old (user_id, version, room_id, session_id, first_message_index, forwarded_count, is_verified, session_data)
			SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[], $8::text[])
			ON CONFLICT (user_id, version, room_id, session_id) DO UPDATE SET first_message_index = excluded.first_message_index,
				forwarded_count = excluded.forwarded_count, is_verified = excluded.is_verified, session_data = excluded.session_data
			WHERE (NOT excluded.is_verified, excluded.first_message_index, excluded.forwarded_count)
				< (NOT old.is_verified, old.first_message_index, old.forwarded_count)
			RETURNING xmax = 0 AS new
		) SELECT count(*) FILTER (WHERE new), count(*) FROM put`,
		userID, version, &rooms, &sessions, &first, &forwarded, verified, &data).Scan(&added, &changed)
	if err != nil {
		return 0, 0, fmt.Errorf("storing the keys of a backup: %w", err)
	}
	return added, changed, nil
}

// backupPage is how many keys of a backup are read at a time: what is done with them may
// take as long as a slow client, and must not hold a connection meanwhile.
const backupPage = 250

// EachBackedUpKey calls do with the keys of a backup, of one room or session unless
// these are "", in the order of rooms and sessions. It stops at do's first error.
func (db *DB) EachBackedUpKey(ctx context.Context, userID string, version int64, roomID, sessionID string, do func(*BackedUpKey) error) error {
	var last BackedUpKey
	for {
		rows, err := db.query(ctx, `
			SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data FROM backed_up_keys
			WHERE user_id = $1 AND version = $2 AND ($3 = '' OR room_id = $3) AND ($4 = '' OR session_id = $4) AND (room_id, session_id) > ($5, $6)
			ORDER BY room_id, session_id LIMIT $7`, userID, version, roomID, sessionID, last.RoomID, last.SessionID, backupPage)
		page, err := collect(rows, err, func(r *sql.Rows) (k BackedUpKey, err error) {
			return k, r.Scan(&k.RoomID, &k.SessionID, &k.FirstMessageIndex, &k.ForwardedCount, &k.IsVerified, (*[]byte)(&k.Data))
		})
		if err != nil {
			return fmt.Errorf("reading the keys of a backup: %w", err)
		}
		for i := range page {
			if err := do(&page[i]); err != nil {
				return err
			}
		}
		if len(page) < backupPage {
			return nil
		}
		last = page[len(page)-1]
	}
}

// DeleteBackedUpKeys deletes the keys of a backup, of one room or session unless these
// are "". It returns the backup's etag and number of keys, or ErrNotFound.
func (db *DB) DeleteBackedUpKeys(ctx context.Context, userID string, version int64, roomID, sessionID string) (b KeyBackup, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		if b, err = lockKeyBackup(ctx, tx, userID, version); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `
			DELETE FROM backed_up_keys
			WHERE user_id = $1 AND version = $2 AND ($3 = '' OR room_id = $3) AND ($4 = '' OR session_id = $4)`,
			userID, version, roomID, sessionID)
		if err != nil {
			return fmt.Errorf("deleting the keys of a backup: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil || n == 0 {
			return err
		}
		return touchKeyBackup(ctx, tx, userID, &b, -n)
	})
	return b, err
}
