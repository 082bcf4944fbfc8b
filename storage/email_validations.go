package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// EmailPurpose is what an e-mail address is confirmed for.
type EmailPurpose string

// The purposes of confirming an address.
const (
	EmailForRegistration EmailPurpose = "register"
	EmailForAccount      EmailPurpose = "add"
	EmailForPassword     EmailPurpose = "password"
)

// EmailValidation is an address whose owner is being asked to confirm it.
type EmailValidation struct {
	SID, ClientSecret, Address string
	Purpose                    EmailPurpose
	// Token is what the mail holds, NextLink where to go on to; "" for nowhere.
	Token, NextLink string
	ValidatedAt     time.Time // zero is not yet
}

// emailValidationDays is how long there is for confirming an address and using that.
const emailValidationDays = 1

// RequestEmailValidation begins confirming an address, or goes on with it: then SID and
// Token are those of the first time. send is whether this attempt is to send a mail.
func (db *DB) RequestEmailValidation(ctx context.Context, v *EmailValidation, attempt int) (send bool, err error) {
	if _, err := db.exec(ctx, `DELETE FROM email_validations WHERE expires_at < now()`); err != nil {
		return false, fmt.Errorf("deleting old confirmations: %w", err)
	}
	n, err := db.exec(ctx, `
		INSERT INTO email_validations AS v (expires_at, send_attempt, purpose, sid, client_secret, address, token, next_link)
		VALUES (now() + $1 * interval '1 day', $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (address, client_secret, purpose) DO UPDATE SET send_attempt = $2, next_link = $8
			WHERE v.send_attempt < $2 AND v.validated_at IS NULL`,
		emailValidationDays, attempt, v.Purpose, v.SID, v.ClientSecret, v.Address, v.Token, v.NextLink)
	if err != nil {
		return false, fmt.Errorf("storing a confirmation: %w", err)
	}
	err = db.scanRow(ctx, `SELECT sid, token FROM email_validations WHERE address = $1 AND client_secret = $2 AND purpose = $3`,
		[]any{v.Address, v.ClientSecret, v.Purpose}, &v.SID, &v.Token)
	return n > 0, notFound("reading a confirmation", err)
}

// EmailNotSent takes an attempt back whose mail could not be sent.
func (db *DB) EmailNotSent(ctx context.Context, sid string, attempt int) error {
	_, err := db.exec(ctx, `UPDATE email_validations SET send_attempt = send_attempt - 1 WHERE sid = $1 AND send_attempt = $2`, sid, attempt)
	if err != nil {
		return fmt.Errorf("taking an attempt back: %w", err)
	}
	return nil
}

// GetEmailValidation returns a confirmation that has not expired, or ErrNotFound.
func (db *DB) GetEmailValidation(ctx context.Context, sid string) (*EmailValidation, error) {
	v := EmailValidation{SID: sid}
	var validated sql.NullTime
	err := db.scanRow(ctx, `SELECT client_secret, address, purpose, token, next_link, validated_at FROM email_validations
		WHERE sid = $1 AND expires_at > now()`, []any{sid}, &v.ClientSecret, &v.Address, &v.Purpose, &v.Token, &v.NextLink, &validated)
	v.ValidatedAt = validated.Time
	return &v, notFound("reading a confirmation", err)
}

// ConfirmEmail notes that an address was confirmed, or returns ErrNotFound.
func (db *DB) ConfirmEmail(ctx context.Context, sid string) error {
	n, err := db.exec(ctx, `UPDATE email_validations SET validated_at = coalesce(validated_at, now()) WHERE sid = $1 AND expires_at > now()`, sid)
	return oneRow("confirming an address", n, err)
}

// EndEmailValidation ends a confirmation that has been used, or returns ErrNotFound.
func (db *DB) EndEmailValidation(ctx context.Context, sid string) error {
	n, err := db.exec(ctx, `DELETE FROM email_validations WHERE sid = $1`, sid)
	return oneRow("ending a confirmation", n, err)
}
