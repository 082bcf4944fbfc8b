package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrNoRegistration is the result of registering with a token that isn't good, or not
// any more.
var ErrNoRegistration = errors.New("the registration token is not valid")

// Registration is an account to make, with what it rests on.
type Registration struct {
	User User
	// FromGuest makes the account of a guest into one like all others.
	FromGuest bool
	// Token is used up by the registration; "" for none.
	Token string
	// AcceptedTerms is the version of the terms that the user has accepted.
	AcceptedTerms string
	// Email, if not nil, is a confirmed address that becomes the user's.
	Email *EmailValidation
	// SSO, if not nil, is the identity by which the user signs in.
	SSO *SSOIdentity
}

// Register makes an account, if everything holds that it rests on. It returns
// ErrUserExists, ErrNotFound for a guest that there isn't, ErrNoRegistration or
// ErrThreepidInUse.
func (db *DB) Register(ctx context.Context, r Registration) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		if err := r.takeToken(ctx, tx); err != nil {
			return err
		}
		if err := r.makeUser(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE users SET accepted_terms = $2 WHERE user_id = $1`, r.User.ID, r.AcceptedTerms)
		if err != nil {
			return fmt.Errorf("noting the accepted terms: %w", err)
		}
		if r.SSO != nil {
			if err := addSSOIdentity(ctx, tx, r.User.ID, *r.SSO); err != nil {
				return err
			}
		}
		if r.Email != nil {
			return addThreepid(ctx, tx, r.User.ID, r.Email)
		}
		return nil
	})
}

func (r *Registration) takeToken(ctx context.Context, tx *sql.Tx) error {
	if r.Token == "" {
		return nil
	}
	res, err := tx.ExecContext(ctx, `UPDATE registration_tokens SET uses = uses + 1 WHERE token = $1 AND `+tokenIsGood, r.Token)
	if err != nil {
		return fmt.Errorf("using a registration token: %w", err)
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		return errors.Join(ErrNoRegistration, err)
	}
	return nil
}

// makeUser inserts the account, or makes it of a guest's.
func (r *Registration) makeUser(ctx context.Context, tx *sql.Tx) error {
	u, refused := r.User, ErrUserExists
	query := insertUser
	args := []any{u.ID, u.PasswordHash, u.Admin, u.UserType, u.Guest}
	if r.FromGuest {
		refused = ErrNotFound
		query = `UPDATE users SET guest = false, password_hash = $2 WHERE user_id = $1 AND guest AND deactivated_at IS NULL`
		args = args[:2]
	}
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("creating user %s: %w", u.ID, err)
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		return errors.Join(refused, err)
	}
	return nil
}

// GuestsIn returns the guests who are in a room.
func (db *DB) GuestsIn(ctx context.Context, room int64) ([]string, error) {
	rows, err := db.query(ctx, `SELECT m.user_id FROM memberships m JOIN users u USING (user_id)
		WHERE m.room_nid = $1 AND m.membership = 'join' AND u.guest`, room)
	list, err := collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("reading a room's guests: %w", err)
	}
	return list, nil
}

// RoomsOfGuests returns the rooms that guests are in.
func (db *DB) RoomsOfGuests(ctx context.Context) ([]string, error) {
	rows, err := db.query(ctx, `SELECT DISTINCT r.room_id FROM users u
		JOIN memberships m ON m.user_id = u.user_id AND m.membership = 'join'
		JOIN rooms r ON r.nid = m.room_nid WHERE u.guest`)
	list, err := collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("reading the rooms of guests: %w", err)
	}
	return list, nil
}

func scanText(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) }
