package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrProfileTooLarge is the result of setting a field that would make the profile
// too large.
var ErrProfileTooLarge = errors.New("the profile would be too large")

// GetProfile returns the fields of an active user's profile, each as JSON, or
// ErrNotFound when there is no such user.
func (db *DB) GetProfile(ctx context.Context, userID string) (map[string]json.RawMessage, error) {
	rows, err := db.query(ctx, `
		SELECT coalesce(p.field, ''), coalesce(p.value, '')
		FROM users u LEFT JOIN profiles p USING (user_id)
		WHERE u.user_id = $1 AND u.deactivated_at IS NULL`, userID)
	type field struct{ name, value string }
	list, err := collect(rows, err, func(r *sql.Rows) (f field, err error) { return f, r.Scan(&f.name, &f.value) })
	if err != nil {
		return nil, fmt.Errorf("reading a profile: %w", err)
	}
	if len(list) == 0 {
		return nil, ErrNotFound
	}
	profile := make(map[string]json.RawMessage, len(list))
	for _, f := range list {
		if f.name != "" {
			profile[f.name] = json.RawMessage(f.value)
		}
	}
	return profile, nil
}

// ProfileNames returns what a user's membership events say of them; both are ""
// for a user that has set nothing or doesn't exist.
func (db *DB) ProfileNames(ctx context.Context, userID string) (displayName, avatarURL string, err error) {
	rows, err := db.query(ctx, `
		SELECT field, value FROM profiles WHERE user_id = $1 AND field IN ('displayname', 'avatar_url')`, userID)
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var field, value string
		if err := r.Scan(&field, &value); err != nil {
			return struct{}{}, err
		}
		into := &displayName
		if field == "avatar_url" {
			into = &avatarURL
		}
		return struct{}{}, json.Unmarshal([]byte(value), into)
	})
	if err != nil {
		return "", "", fmt.Errorf("reading a profile's names: %w", err)
	}
	return displayName, avatarURL, nil
}

// SetProfileField stores a field of an active user's profile. The profile as a
// whole, names and values, stays within maxBytes, or ErrProfileTooLarge.
// ErrNotFound means that there is no such user.
func (db *DB) SetProfileField(ctx context.Context, userID, field string, value json.RawMessage, maxBytes int) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		var one int
		// The lock makes concurrent fields count each other.
		err := tx.QueryRowContext(ctx, `
			SELECT 1 FROM users WHERE user_id = $1 AND deactivated_at IS NULL FOR UPDATE`, userID).Scan(&one)
		if err := notFound("reading the user of a profile", err); err != nil {
			return err
		}
		var size int
		err = tx.QueryRowContext(ctx, `
			SELECT coalesce(sum(octet_length(field) + octet_length(value) + 4), 0) FROM profiles
			WHERE user_id = $1 AND field <> $2`, userID, field).Scan(&size)
		if err != nil {
			return fmt.Errorf("measuring a profile: %w", err)
		}
		if size+len(field)+len(value)+4 > maxBytes {
			return ErrProfileTooLarge
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO profiles (user_id, field, value) VALUES ($1, $2, $3)
			ON CONFLICT (user_id, field) DO UPDATE SET value = excluded.value`, userID, field, string(value))
		if err != nil {
			return fmt.Errorf("storing a profile field: %w", err)
		}
		if _, err := tx.ExecContext(ctx, markStale, userID); err != nil {
			return fmt.Errorf("marking a profile as changed: %w", err)
		}
		return nil
	})
}

// DeleteProfileField removes a field; it is no error if it wasn't there.
func (db *DB) DeleteProfileField(ctx context.Context, userID, field string) error {
	if _, err := db.exec(ctx, `
		WITH gone AS (DELETE FROM profiles WHERE user_id = $1 AND field = $2 RETURNING user_id)
		INSERT INTO stale_people (user_id) SELECT user_id FROM gone ON CONFLICT DO NOTHING`, userID, field); err != nil {
		return fmt.Errorf("deleting a profile field: %w", err)
	}
	return nil
}
