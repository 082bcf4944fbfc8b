package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Threepid is an address by which a user is known to this server.
type Threepid struct {
	Medium, Address      string
	ValidatedAt, AddedAt time.Time
}

// ErrThreepidInUse is the result of adding an address that belongs to a user already.
var ErrThreepidInUse = errors.New("the address belongs to another account")

// ErrTooManyThreepids is the result of adding more than a user may have.
var ErrTooManyThreepids = errors.New("the account has too many addresses")

// maxThreepids bounds the addresses of a user.
const maxThreepids = 20

// Threepids returns a user's addresses, the oldest first.
func (db *DB) Threepids(ctx context.Context, userID string) ([]Threepid, error) {
	rows, err := db.query(ctx, `SELECT medium, address, validated_at, added_at FROM threepids
		WHERE user_id = $1 ORDER BY added_at, address`, userID)
	list, err := collect(rows, err, func(r *sql.Rows) (t Threepid, err error) {
		return t, r.Scan(&t.Medium, &t.Address, &t.ValidatedAt, &t.AddedAt)
	})
	if err != nil {
		return nil, fmt.Errorf("reading a user's addresses: %w", err)
	}
	return list, nil
}

// ThreepidOwner returns the user to whom an address belongs, or ErrNotFound.
func (db *DB) ThreepidOwner(ctx context.Context, medium, address string) (userID string, err error) {
	err = db.scanRow(ctx, `SELECT user_id FROM threepids WHERE medium = $1 AND address = $2`, []any{medium, address}, &userID)
	return userID, notFound("reading the owner of an address", err)
}

// AddThreepid gives a confirmed e-mail address to the user and ends its confirmation.
// It returns ErrThreepidInUse, ErrTooManyThreepids or, if the user is gone, ErrNotFound.
func (db *DB) AddThreepid(ctx context.Context, userID string, v *EmailValidation) error {
	return db.inTx(ctx, func(tx *sql.Tx) error { return addThreepid(ctx, tx, userID, v) })
}

func addThreepid(ctx context.Context, tx *sql.Tx, userID string, v *EmailValidation) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM users WHERE user_id = $1 AND deactivated_at IS NULL FOR UPDATE`, userID).Scan(&one)
	if err := notFound("reading the user of an address", err); err != nil {
		return err
	}
	var has int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM threepids WHERE user_id = $1`, userID).Scan(&has); err != nil {
		return fmt.Errorf("counting a user's addresses: %w", err)
	}
	if has >= maxThreepids {
		return ErrTooManyThreepids
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO threepids (validated_at, user_id, medium, address) VALUES ($1, $2, 'email', $3)
		ON CONFLICT (medium, address) DO UPDATE SET validated_at = excluded.validated_at WHERE threepids.user_id = excluded.user_id`,
		v.ValidatedAt, userID, v.Address)
	if err != nil {
		return fmt.Errorf("adding an address: %w", err)
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		return errors.Join(ErrThreepidInUse, err)
	}
	if _, err = tx.ExecContext(ctx, `DELETE FROM email_validations WHERE sid = $1`, v.SID); err != nil {
		return fmt.Errorf("ending the confirmation of an address: %w", err)
	}
	return nil
}

// DeleteThreepid takes an address away from the user; it is no error if it isn't theirs.
func (db *DB) DeleteThreepid(ctx context.Context, userID, medium, address string) error {
	_, err := db.exec(ctx, `DELETE FROM threepids WHERE user_id = $1 AND medium = $2 AND address = $3`, userID, medium, address)
	if err != nil {
		return fmt.Errorf("deleting an address: %w", err)
	}
	return nil
}
