package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// KeyBackup is one version of a user's backup of room keys. AuthData is empty and
// nothing else is set for one that was deleted.
type KeyBackup struct {
	Version   int64
	Algorithm string
	AuthData  json.RawMessage
	// ETag differs after each change of the keys.
	ETag int64
	// Keys is how many there are.
	Keys int64
}

// ErrTooManyBackups is CreateKeyBackup's refusal, and ErrTooManyKeys PutBackedUpKeys'.
var (
	ErrTooManyBackups = errors.New("there are too many backups")
	ErrTooManyKeys    = errors.New("there are too many keys in the backup")
)

// ErrOldBackup says that a backup isn't the newest; Current is.
type ErrOldBackup struct{ Current int64 }

func (e *ErrOldBackup) Error() string {
	return fmt.Sprintf("the newest version of the backup is %d", e.Current)
}

// CreateKeyBackup makes a new version of the user's backup and returns its number. With
// limit or more versions that aren't deleted it is ErrTooManyBackups.
func (db *DB) CreateKeyBackup(ctx context.Context, userID, algorithm string, authData json.RawMessage, limit int) (version int64, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		// One at a time for each user, so that each gets a number of its own.
		if _, err := tx.ExecContext(ctx, `SELECT FROM users WHERE user_id = $1 FOR UPDATE`, userID); err != nil {
			return fmt.Errorf("locking a user: %w", err)
		}
		err := tx.QueryRowContext(ctx, `
			INSERT INTO key_backups (user_id, version, algorithm, auth_data)
			SELECT $1, coalesce(max(version), 0) + 1, $2, $3 FROM key_backups WHERE user_id = $1
			HAVING count(*) FILTER (WHERE NOT deleted) < $4
			RETURNING version`, userID, algorithm, string(authData), limit).Scan(&version)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrTooManyBackups
		}
		if err != nil {
			return fmt.Errorf("making a key backup: %w", err)
		}
		return nil
	})
	return version, err
}

// GetKeyBackup returns a version of the user's backup, the newest for 0, or
// ErrNotFound.
func (db *DB) GetKeyBackup(ctx context.Context, userID string, version int64) (*KeyBackup, error) {
	var b KeyBackup
	err := db.scanRow(ctx, `
		SELECT version, algorithm, auth_data, etag, keys FROM key_backups
		WHERE user_id = $1 AND NOT deleted AND ($2 = 0 OR version = $2) ORDER BY version DESC LIMIT 1`,
		[]any{userID, version}, &b.Version, &b.Algorithm, (*[]byte)(&b.AuthData), &b.ETag, &b.Keys)
	if err := notFound("reading a key backup", err); err != nil {
		return nil, err
	}
	return &b, nil
}

// UpdateKeyBackup replaces the authentication data of a backup, or returns
// ErrNotFound.
func (db *DB) UpdateKeyBackup(ctx context.Context, userID string, version int64, authData json.RawMessage) error {
	n, err := db.exec(ctx, `UPDATE key_backups SET auth_data = $3 WHERE user_id = $1 AND version = $2 AND NOT deleted`,
		userID, version, string(authData))
	if err != nil {
		return fmt.Errorf("changing a key backup: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

// DeleteKeyBackup deletes a backup with its keys, unless it was before, or returns ErrNotFound.
func (db *DB) DeleteKeyBackup(ctx context.Context, userID string, version int64) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		var v int64
		err := tx.QueryRowContext(ctx, `
			UPDATE key_backups SET deleted = true, auth_data = '', keys = 0
			WHERE user_id = $1 AND version = $2 RETURNING version`, userID, version).Scan(&v)
		if err := notFound("deleting a key backup", err); err != nil {
			return err
		}
		if _, err = tx.ExecContext(ctx, `DELETE FROM backed_up_keys WHERE user_id = $1 AND version = $2`, userID, version); err != nil {
			return fmt.Errorf("deleting the keys of a backup: %w", err)
		}
		return nil
	})
}
