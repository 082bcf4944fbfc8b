package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// RegistrationToken lets people make accounts.
type RegistrationToken struct {
	Token string
	// UsesAllowed is how many accounts it is good for, 0 for any number; Uses is how
	// many there are.
	Uses, UsesAllowed int
	ExpiresAt         time.Time // zero is never
}

// tokenIsGood is the condition on registration_tokens for a token that can be used.
const tokenIsGood = `(uses_allowed IS NULL OR uses < uses_allowed) AND (expires_at IS NULL OR expires_at > now())`

// RegistrationTokenIsGood reports whether an account could be made with the token now.
func (db *DB) RegistrationTokenIsGood(ctx context.Context, token string) (good bool, err error) {
	err = db.scanRow(ctx, `SELECT EXISTS (SELECT 1 FROM registration_tokens WHERE token = $1 AND `+tokenIsGood+`)`, []any{token}, &good)
	if err != nil {
		return false, fmt.Errorf("reading a registration token: %w", err)
	}
	return good, nil
}

// AddRegistrationToken stores a new token; IsUniqueViolation tells of one that is there
// already.
func (db *DB) AddRegistrationToken(ctx context.Context, t RegistrationToken) error {
	expires := sql.NullTime{Time: t.ExpiresAt, Valid: !t.ExpiresAt.IsZero()}
	_, err := db.exec(ctx, `INSERT INTO registration_tokens (token, uses_allowed, expires_at) VALUES ($1, nullif($2::integer, 0), $3)`,
		t.Token, t.UsesAllowed, expires)
	if err != nil {
		return fmt.Errorf("storing a registration token: %w", err)
	}
	return nil
}

// RegistrationTokens returns up to limit tokens, the newest first.
func (db *DB) RegistrationTokens(ctx context.Context, limit int) ([]RegistrationToken, error) {
	rows, err := db.query(ctx, `SELECT token, uses, coalesce(uses_allowed, 0), expires_at FROM registration_tokens
		ORDER BY created_at DESC, token LIMIT $1`, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (t RegistrationToken, err error) {
		var expires sql.NullTime
		err = r.Scan(&t.Token, &t.Uses, &t.UsesAllowed, &expires)
		t.ExpiresAt = expires.Time
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading registration tokens: %w", err)
	}
	return list, nil
}

// DeleteRegistrationToken ends a token, or returns ErrNotFound.
func (db *DB) DeleteRegistrationToken(ctx context.Context, token string) error {
	n, err := db.exec(ctx, `DELETE FROM registration_tokens WHERE token = $1`, token)
	return oneRow("deleting a registration token", n, err)
}
