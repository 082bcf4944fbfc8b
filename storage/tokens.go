package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// TokenHash is the SHA-256 of a token, all that is kept of it.
type TokenHash [32]byte

// Token is an access token with whom it stands for.
type Token struct {
	ID               int64
	UserID, DeviceID string
	ExpiresAt        time.Time // zero is never
	// What the account is.
	Admin, Guest, Locked, Suspended bool
	// ReplacesID is the token that this one was refreshed from, if it still exists:
	// this one hasn't been used yet.
	ReplacesID int64
}

// NewToken is what CreateSession and RefreshToken store.
type NewToken struct {
	Access TokenHash
	// Refresh is nil for a token that can't be refreshed.
	Refresh *TokenHash
	// Lifetime is that of the access token; 0 is for ever.
	Lifetime time.Duration
	// OAuthClient, unless nil, is the hash of the id of the client that has it by OAuth 2.0.
	OAuthClient *TokenHash
}

func (h *TokenHash) orNull() any {
	if h == nil {
		return nil
	}
	return h[:]
}

func (n NewToken) expiresAt() any {
	if n.Lifetime == 0 {
		return nil
	}
	return time.Now().Add(n.Lifetime)
}

// ErrDeviceIsKey is for a device that would have the name of one of the user's cross-signing keys.
var ErrDeviceIsKey = errors.New("the device has the id of a cross-signing key")

// CreateSession makes the device unless it exists (then displayName is ignored)
// and gives it the token, which takes the place of all the device's earlier
// ones. It returns those, or ErrNotFound when the account doesn't exist or is
// deactivated, or ErrDeviceIsKey.
func (db *DB) CreateSession(ctx context.Context, userID, deviceID, displayName string, token NewToken) (gone []TokenHash, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		// The lock holds off a deactivation, which deletes sessions, until this is done.
		var one int
		err := tx.QueryRowContext(ctx, `
			SELECT 1 FROM users WHERE user_id = $1 AND deactivated_at IS NULL FOR SHARE`, userID).Scan(&one)
		if err := notFound("reading the user of a new session", err); err != nil {
			return err
		}
		if err := differsFromKeys(ctx, tx, userID, deviceID); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO devices (user_id, device_id, display_name, oauth_client) VALUES ($1, $2, $3, $4)
			ON CONFLICT (user_id, device_id) DO UPDATE SET oauth_client = excluded.oauth_client`,
			userID, deviceID, displayName, token.OAuthClient.orNull())
		if err != nil {
			return fmt.Errorf("creating a device: %w", err)
		}
		rows, err := tx.QueryContext(ctx, `
			DELETE FROM tokens WHERE user_id = $1 AND device_id = $2 RETURNING access_hash`, userID, deviceID)
		if gone, err = collect(rows, err, scanHash); err != nil {
			return fmt.Errorf("deleting a device's earlier tokens: %w", err)
		}
		return insertToken(ctx, tx, userID, deviceID, token, 0)
	})
	db.keyCounts.changed(userID, deviceID) // an earlier device of this name may have had some
	return gone, err
}

// differsFromKeys returns ErrDeviceIsKey for a device that has the id of one of the user's cross-signing keys.
func differsFromKeys(ctx context.Context, tx *sql.Tx, userID, deviceID string) error {
	rows, err := tx.QueryContext(ctx, `SELECT json FROM cross_signing_keys WHERE user_id = $1`, userID)
	keys, err := collect(rows, err, func(r *sql.Rows) (text []byte, err error) { return text, r.Scan(&text) })
	if err != nil {
		return fmt.Errorf("reading the cross-signing keys of a new device's user: %w", err)
	}
	for _, text := range keys {
		var key struct {
			Keys map[string]json.RawMessage `json:"keys"`
		}
		if err := json.Unmarshal(text, &key); err != nil {
			return fmt.Errorf("reading a cross-signing key: %w", err)
		}
		if key.Keys["ed25519:"+deviceID] != nil {
			return ErrDeviceIsKey
		}
	}
	return nil
}

func insertToken(ctx context.Context, tx *sql.Tx, userID, deviceID string, t NewToken, replaces int64) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO tokens (user_id, device_id, access_hash, refresh_hash, expires_at, replaces_id)
		VALUES ($1, $2, $3, $4, $5, nullif($6::bigint, 0))`,
		userID, deviceID, t.Access[:], t.Refresh.orNull(), t.expiresAt(), replaces)
	if err != nil {
		return fmt.Errorf("storing a token: %w", err)
	}
	return nil
}

// GetToken returns what an access token stands for, expired ones included, or
// ErrNotFound.
func (db *DB) GetToken(ctx context.Context, access TokenHash) (*Token, error) {
	var t Token
	var expires sql.NullTime
	err := db.scanRow(ctx, `
		SELECT t.id, t.user_id, t.device_id, t.expires_at, coalesce(t.replaces_id, 0), u.admin, u.guest, u.locked, u.suspended
		FROM tokens t JOIN users u USING (user_id)
		WHERE t.access_hash = $1 AND u.deactivated_at IS NULL`, []any{access[:]},
		&t.ID, &t.UserID, &t.DeviceID, &expires, &t.ReplacesID, &t.Admin, &t.Guest, &t.Locked, &t.Suspended)
	if err := notFound("reading a token", err); err != nil {
		return nil, err
	}
	t.ExpiresAt = expires.Time
	return &t, nil
}

// RetireReplacedToken deletes the token that t was refreshed from, because t has
// now been used. It returns the tokens that are no longer valid, or ErrNotFound
// when t itself has gone.
func (db *DB) RetireReplacedToken(ctx context.Context, t *Token) (gone []TokenHash, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		gone, err = retireReplaced(ctx, tx, t.ID, t.ReplacesID)
		return err
	})
	return gone, err
}

func retireReplaced(ctx context.Context, tx *sql.Tx, id, replaces int64) ([]TokenHash, error) {
	// The replaced row is locked before its successor, as RefreshToken does.
	rows, err := tx.QueryContext(ctx, `DELETE FROM tokens WHERE id = $1 RETURNING access_hash`, replaces)
	gone, err := collect(rows, err, scanHash)
	if err != nil {
		return nil, fmt.Errorf("deleting a replaced token: %w", err)
	}
	res, err := tx.ExecContext(ctx, `UPDATE tokens SET replaces_id = NULL WHERE id = $1`, id)
	if err != nil {
		return nil, fmt.Errorf("marking a token as used: %w", err)
	}
	n, err := res.RowsAffected()
	return gone, oneRow("marking a token as used", n, err)
}

// RefreshToken makes a successor of the token whose refresh token is given, for
// the same device. The old tokens stay valid until the new ones are used;
// successors made earlier and never used are deleted. It returns the tokens that
// are no longer valid, or ErrNotFound for a refresh token that is unknown or was
// used up, or is another OAuth client's.
func (db *DB) RefreshToken(ctx context.Context, refresh TokenHash, token NewToken) (gone []TokenHash, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		old, err := lockRefreshed(ctx, tx, refresh)
		if err != nil {
			return err
		}
		if err := old.isOf(ctx, tx, token.OAuthClient); err != nil {
			return err
		}
		if old.ReplacesID != 0 {
			if gone, err = retireReplaced(ctx, tx, old.ID, old.ReplacesID); err != nil {
				return err
			}
		}
		rows, err := tx.QueryContext(ctx, `DELETE FROM tokens WHERE replaces_id = $1 RETURNING access_hash`, old.ID)
		unused, err := collect(rows, err, scanHash)
		if err != nil {
			return fmt.Errorf("deleting unused successors of a token: %w", err)
		}
		gone = append(gone, unused...)
		return insertToken(ctx, tx, old.UserID, old.DeviceID, token, old.ID)
	})
	return gone, err
}

// lockRefreshed finds and locks the row of a refresh token, and before it the row
// that it replaces, so that all who touch both lock them in the same order.
func lockRefreshed(ctx context.Context, tx *sql.Tx, refresh TokenHash) (*Token, error) {
	_, err := tx.ExecContext(ctx, `
		SELECT 1 FROM tokens WHERE id = (SELECT replaces_id FROM tokens WHERE refresh_hash = $1) FOR UPDATE`, refresh[:])
	if err != nil {
		return nil, fmt.Errorf("locking a replaced token: %w", err)
	}
	var t Token
	err = tx.QueryRowContext(ctx, `
		SELECT t.id, t.user_id, t.device_id, coalesce(t.replaces_id, 0), u.locked
		FROM tokens t JOIN users u USING (user_id)
		WHERE t.refresh_hash = $1 AND u.deactivated_at IS NULL FOR UPDATE OF t`, refresh[:]).
		Scan(&t.ID, &t.UserID, &t.DeviceID, &t.ReplacesID, &t.Locked)
	if err := notFound("reading a refresh token", err); err != nil {
		return nil, err
	}
	if t.Locked {
		return nil, ErrLocked
	}
	return &t, nil
}

// isOf returns ErrNotFound unless the token's device logged in by the OAuth client. Without a
// client, whoever has the token may use it.
func (t *Token) isOf(ctx context.Context, tx *sql.Tx, client *TokenHash) error {
	if client == nil {
		return nil
	}
	var one int
	err := tx.QueryRowContext(ctx, `
		SELECT 1 FROM devices WHERE user_id = $1 AND device_id = $2 AND oauth_client = $3`, t.UserID, t.DeviceID, client[:]).Scan(&one)
	return notFound("reading the client of a device", err)
}

// DeviceOfToken returns the device that an access token or a refresh token belongs to, or
// ErrNotFound.
func (db *DB) DeviceOfToken(ctx context.Context, hash TokenHash) (userID, deviceID string, err error) {
	err = db.scanRow(ctx, `SELECT user_id, device_id FROM tokens WHERE access_hash = $1 OR refresh_hash = $1 LIMIT 1`,
		[]any{hash[:]}, &userID, &deviceID)
	return userID, deviceID, notFound("reading the device of a token", err)
}

// ErrLocked is the result of refreshing a token of a locked account.
var ErrLocked = errors.New("the account is locked")

// TokensOf returns the hashes of a user's access tokens.
func (db *DB) TokensOf(ctx context.Context, userID string) ([]TokenHash, error) {
	rows, err := db.query(ctx, `SELECT access_hash FROM tokens WHERE user_id = $1`, userID)
	hashes, err := collect(rows, err, scanHash)
	if err != nil {
		return nil, fmt.Errorf("reading a user's tokens: %w", err)
	}
	return hashes, nil
}

func scanHash(r *sql.Rows) (h TokenHash, err error) {
	var b []byte
	err = r.Scan(&b)
	copy(h[:], b)
	return h, err
}
