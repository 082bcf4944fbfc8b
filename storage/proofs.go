package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Purpose is what a proof is good for.
type Purpose string

// The purposes of proofs.
const (
	ProofOfLogin  Purpose = "login"  // for one login, by m.login.token
	ProofOfOpenID Purpose = "openid" // for third parties, any number of times
)

// maxProofs bounds the proofs of a user that are valid at the same time, for each
// purpose; the ones that would end first give way.
const maxProofs = 50

// AddProof stores a token that proves who the user is until its lifetime is over. It
// returns ErrNotFound for an account that doesn't exist or is deactivated.
func (db *DB) AddProof(ctx context.Context, purpose Purpose, userID string, hash TokenHash, lifetime time.Duration) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		var one int
		err := tx.QueryRowContext(ctx, `
			SELECT 1 FROM users WHERE user_id = $1 AND deactivated_at IS NULL FOR SHARE`, userID).Scan(&one)
		if err := notFound("reading the user of a proof", err); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			DELETE FROM proofs WHERE expires_at < now() OR hash IN (
				SELECT hash FROM proofs WHERE user_id = $1 AND purpose = $2 ORDER BY expires_at DESC OFFSET $3)`,
			userID, purpose, maxProofs-1)
		if err != nil {
			return fmt.Errorf("deleting old proofs: %w", err)
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO proofs (expires_at, purpose, user_id, hash) VALUES ($1, $2, $3, $4)`,
			time.Now().Add(lifetime), purpose, userID, hash[:])
		if err != nil {
			return fmt.Errorf("storing a proof: %w", err)
		}
		return nil
	})
}

// TakeProof returns whom a proof proves and ends it, or ErrNotFound.
func (db *DB) TakeProof(ctx context.Context, purpose Purpose, hash TokenHash) (userID string, err error) {
	var expired bool
	err = db.scanRow(ctx, `DELETE FROM proofs WHERE hash = $1 AND purpose = $2 RETURNING user_id, expires_at < now()`,
		[]any{hash[:], purpose}, &userID, &expired)
	if err == nil && expired {
		return "", ErrNotFound
	}
	return userID, notFound("taking a proof", err)
}

// GetProof returns whom a proof proves, if that account may be used, or ErrNotFound.
func (db *DB) GetProof(ctx context.Context, purpose Purpose, hash TokenHash) (userID string, err error) {
	err = db.scanRow(ctx, `
		SELECT p.user_id FROM proofs p JOIN users u USING (user_id)
		WHERE p.hash = $1 AND p.purpose = $2 AND p.expires_at > now() AND u.deactivated_at IS NULL AND NOT u.locked`,
		[]any{hash[:], purpose}, &userID)
	return userID, notFound("reading a proof", err)
}
