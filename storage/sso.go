package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// SSOIdentity is as whom a provider of single sign-on knows somebody. It belongs to one user.
type SSOIdentity struct{ Issuer, Subject string }

// SSOUser returns whose an identity is, or ErrNotFound.
func (db *DB) SSOUser(ctx context.Context, id SSOIdentity) (userID string, err error) {
	err = db.scanRow(ctx, `SELECT user_id FROM sso_identities WHERE issuer = $1 AND subject = $2`, []any{id.Issuer, id.Subject}, &userID)
	return userID, notFound("reading the user of an identity", err)
}

// AddSSOIdentity gives an identity to a user who isn't deactivated. It returns ErrNotFound if
// there is none, and ErrUserExists if the identity is somebody's, or its provider knows the user
// as somebody else.
func (db *DB) AddSSOIdentity(ctx context.Context, userID string, id SSOIdentity) error {
	return db.inTx(ctx, func(tx *sql.Tx) error { return addSSOIdentity(ctx, tx, userID, id) })
}

func addSSOIdentity(ctx context.Context, tx *sql.Tx, userID string, id SSOIdentity) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM users WHERE user_id = $1 AND deactivated_at IS NULL FOR SHARE`, userID).Scan(&one)
	if err := notFound("reading the user of an identity", err); err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `
		INSERT INTO sso_identities (user_id, issuer, subject) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, userID, id.Issuer, id.Subject)
	if err != nil {
		return fmt.Errorf("adding an identity to %s: %w", userID, err)
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return ErrUserExists
	}
	return err
}

// SignInMethods is how a user can prove who they are.
type SignInMethods struct {
	Password bool
	// Issuers are the providers of single sign-on that know the user.
	Issuers []string
	// OAuth is whether the device signed in by OAuth 2.0.
	OAuth bool
}

// SignInMethods returns how a user can prove who they are on a device, or ErrNotFound.
func (db *DB) SignInMethods(ctx context.Context, userID, deviceID string) (*SignInMethods, error) {
	var m SignInMethods
	err := db.scanRow(ctx, `
		SELECT u.password_hash <> '', d.oauth_client IS NOT NULL,
			array(SELECT DISTINCT issuer FROM sso_identities WHERE user_id = u.user_id)
		FROM users u LEFT JOIN devices d ON d.user_id = u.user_id AND d.device_id = $2
		WHERE u.user_id = $1`, []any{userID, deviceID}, &m.Password, &m.OAuth, (*pq.StringArray)(&m.Issuers))
	if err := notFound("reading how a user signs in", err); err != nil {
		return nil, err
	}
	return &m, nil
}
