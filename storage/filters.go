package storage

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
)

// ErrTooManyFilters is PutFilter's refusal of more than MaxFilters.
var ErrTooManyFilters = errors.New("the user has too many filters")

// MaxFilters is how many different filters a user may have stored.
const MaxFilters = 1000

// GetFilter returns a filter the user has stored, or ErrNotFound.
func (db *DB) GetFilter(ctx context.Context, userID, filterID string) ([]byte, error) {
	id, err := strconv.ParseInt(filterID, 10, 32)
	if err != nil {
		return nil, ErrNotFound
	}
	var content []byte
	err = db.scanRow(ctx, `SELECT content FROM filters WHERE user_id = $1 AND filter_id = $2`, []any{userID, id}, &content)
	return content, notFound("reading a filter", err)
}

// PutFilter stores a filter, JSON in canonical form, and returns its id, which is
// the same whenever the user stores the same filter.
func (db *DB) PutFilter(ctx context.Context, userID string, canonical []byte) (filterID string, err error) {
	hash := sha256.Sum256(canonical)
	var id int64
	err = db.scanRow(ctx, `SELECT filter_id FROM filters WHERE user_id = $1 AND hash = $2`, []any{userID, hash[:]}, &id)
	if err = notFound("looking for a filter", err); errors.Is(err, ErrNotFound) {
		id, err = db.insertFilter(ctx, userID, canonical, hash[:])
	}
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(id, 10), nil
}

func (db *DB) insertFilter(ctx context.Context, userID string, canonical, hash []byte) (id int64, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		// The lock numbers one user's filters one after another.
		if _, err := tx.ExecContext(ctx, `SELECT 1 FROM users WHERE user_id = $1 FOR UPDATE`, userID); err != nil {
			return fmt.Errorf("locking a user: %w", err)
		}
		err := tx.QueryRowContext(ctx, `
			INSERT INTO filters (user_id, filter_id, hash, content)
			SELECT $1, count(*), $2, $3 FROM filters WHERE user_id = $1 HAVING count(*) < $4
			ON CONFLICT (user_id, hash) DO UPDATE SET hash = excluded.hash
			RETURNING filter_id`, userID, hash, string(canonical), MaxFilters).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrTooManyFilters
		}
		if err != nil {
			return fmt.Errorf("storing a filter: %w", err)
		}
		return nil
	})
	return id, err
}
