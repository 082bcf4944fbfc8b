package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// ErrUserExists is the result of creating an account whose id is taken, be it by
// a deactivated one.
var ErrUserExists = errors.New("the user id is taken")

// User is an account of this server.
type User struct {
	ID string
	// PasswordHash is "" for an account that can't log in with a password.
	PasswordHash string
	Admin        bool
	// UserType is "" for people; Synapse's admin API knows "bot" and "support".
	UserType string
	// Guest is an account without a password that may do little.
	Guest       bool
	Locked      bool
	Suspended   bool
	Deactivated bool
	CreatedAt   time.Time
}

// insertUser makes an account unless its id is taken, and has it found by its name, which is
// the local part of its id to begin with.
const insertUser = `
	WITH made AS (
		INSERT INTO users (user_id, password_hash, admin, user_type, guest) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (user_id) DO NOTHING RETURNING user_id
	), named AS (
		INSERT INTO profiles (user_id, field, value)
		SELECT user_id, 'displayname', to_json(split_part(substr(user_id, 2), ':', 1)) FROM made WHERE NOT $5
	) INSERT INTO stale_people (user_id) SELECT user_id FROM made
	ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id`

// CreateUser makes an account, or returns ErrUserExists.
func (db *DB) CreateUser(ctx context.Context, u User) error {
	n, err := db.exec(ctx, insertUser, u.ID, u.PasswordHash, u.Admin, u.UserType, u.Guest)
	if err != nil {
		return fmt.Errorf("creating user %s: %w", u.ID, err)
	}
	if n == 0 {
		return ErrUserExists
	}
	return nil
}

// GetUser returns an account, deactivated ones included, or ErrNotFound.
func (db *DB) GetUser(ctx context.Context, userID string) (*User, error) {
	u := User{ID: userID}
	err := db.scanRow(ctx, `
		SELECT password_hash, admin, user_type, guest, locked, suspended, deactivated_at IS NOT NULL, created_at
		FROM users WHERE user_id = $1`, []any{userID},
		&u.PasswordHash, &u.Admin, &u.UserType, &u.Guest, &u.Locked, &u.Suspended, &u.Deactivated, &u.CreatedAt)
	if err := notFound("reading a user", err); err != nil {
		return nil, err
	}
	return &u, nil
}

// SetPassword replaces the password of an active account. It returns ErrNotFound
// when there is none. Sessions stay as they are, see DeleteOtherDevices; unused login
// tokens don't.
func (db *DB) SetPassword(ctx context.Context, userID, hash string) error {
	n, err := db.exec(ctx, `
		WITH gone AS (DELETE FROM proofs WHERE user_id = $1 AND purpose = 'login')
		UPDATE users SET password_hash = $2 WHERE user_id = $1 AND deactivated_at IS NULL`, userID, hash)
	return oneRow("setting a password", n, err)
}

// SetLocked locks an account or unlocks it. Its tokens stay; what is known of
// them in memory must be forgotten.
func (db *DB) SetLocked(ctx context.Context, userID string, locked bool) error {
	n, err := db.exec(ctx, `UPDATE users SET locked = $2 WHERE user_id = $1`, userID, locked)
	return oneRow("locking an account", n, err)
}

// SetSuspended suspends an account or ends its suspension. What is known of its
// tokens in memory must be forgotten.
func (db *DB) SetSuspended(ctx context.Context, userID string, suspended bool) error {
	n, err := db.exec(ctx, `UPDATE users SET suspended = $2 WHERE user_id = $1`, userID, suspended)
	return oneRow("suspending an account", n, err)
}

// DeactivateUser ends an account for ever: its password, profile, filters,
// devices and tokens are deleted in one transaction, and it is marked as leaving
// its rooms until FinishDeactivation. It returns the tokens that are no longer
// valid, or ErrNotFound.
func (db *DB) DeactivateUser(ctx context.Context, userID string, erase bool) (gone []TokenHash, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			UPDATE users SET deactivated_at = coalesce(deactivated_at, now()), password_hash = '',
				leaving = true, erased = erased OR $2
			WHERE user_id = $1`, userID, erase)
		if err != nil {
			return fmt.Errorf("deactivating %s: %w", userID, err)
		}
		if n, err := res.RowsAffected(); n == 0 || err != nil {
			return oneRow("deactivating a user", n, err)
		}
		for _, query := range []string{
			`DELETE FROM profiles WHERE user_id = $1`,
			`DELETE FROM filters WHERE user_id = $1`,
			markStale,
			`DELETE FROM proofs WHERE user_id = $1`,
			`DELETE FROM threepids WHERE user_id = $1`,
			`DELETE FROM bound_threepids WHERE user_id = $1`,
		} {
			if _, err := tx.ExecContext(ctx, query, userID); err != nil {
				return fmt.Errorf("deleting the data of %s: %w", userID, err)
			}
		}
		gone, err = deleteDevices(ctx, tx, userID, nil, "")
		return err
	})
	return gone, err
}

// FinishDeactivation records that a deactivated user has left all rooms.
func (db *DB) FinishDeactivation(ctx context.Context, userID string) error {
	n, err := db.exec(ctx, `UPDATE users SET leaving = false WHERE user_id = $1`, userID)
	return oneRow("finishing a deactivation", n, err)
}

// LeavingUsers returns the deactivated users that may still be in rooms.
func (db *DB) LeavingUsers(ctx context.Context) ([]string, error) {
	rows, err := db.query(ctx, `SELECT user_id FROM users WHERE leaving`)
	users, err := collect(rows, err, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("reading unfinished deactivations: %w", err)
	}
	return users, nil
}

// oneRow is the result of a statement that must touch one row.
func oneRow(doing string, n int64, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

// AccountsAmong returns those of the users who have an account here.
func (db *DB) AccountsAmong(ctx context.Context, userIDs []string) ([]string, error) {
	rows, err := db.query(ctx, `SELECT user_id FROM users WHERE user_id = ANY($1)`, pq.StringArray(userIDs))
	list, err := collect(rows, err, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("looking for accounts: %w", err)
	}
	return list, nil
}
