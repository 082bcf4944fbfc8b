package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/lib/pq"
)

// CrossSigningKey is one of a user's cross-signing keys, as uploaded. Usage is
// master, self_signing or user_signing.
type CrossSigningKey struct {
	UserID, Usage string
	JSON          json.RawMessage
}

// ListCrossSigningKeys returns all cross-signing keys of the users.
func (db *DB) ListCrossSigningKeys(ctx context.Context, userIDs []string) ([]CrossSigningKey, error) {
	rows, err := db.query(ctx, `SELECT user_id, usage, json FROM cross_signing_keys WHERE user_id = ANY($1)`, pq.StringArray(userIDs))
	list, err := collect(rows, err, func(r *sql.Rows) (k CrossSigningKey, err error) {
		return k, r.Scan(&k.UserID, &k.Usage, (*[]byte)(&k.JSON))
	})
	if err != nil {
		return nil, fmt.Errorf("reading cross-signing keys: %w", err)
	}
	return list, nil
}

// SetCrossSigningKeys replaces those of a user's cross-signing keys that are
// given, all or none.
func (db *DB) SetCrossSigningKeys(ctx context.Context, keys []CrossSigningKey) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		for _, k := range keys {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO cross_signing_keys (user_id, usage, json) VALUES ($1, $2, $3)
				ON CONFLICT (user_id, usage) DO UPDATE SET json = excluded.json`, k.UserID, k.Usage, string(k.JSON)); err != nil {
				return fmt.Errorf("storing a cross-signing key: %w", err)
			}
		}
		return nil
	})
}

// KeySignature is a signature on a key, uploaded apart from it. TargetKey is a
// device id or the public part of a cross-signing key.
type KeySignature struct {
	SignerID, SignerKey string
	TargetID, TargetKey string
	Signature           string
}

// AddKeySignatures stores signatures.
func (db *DB) AddKeySignatures(ctx context.Context, signatures []KeySignature) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		for _, s := range signatures {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO key_signatures (signer_id, signer_key, target_id, target_key, signature) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (target_id, target_key, signer_id, signer_key) DO UPDATE SET signature = excluded.signature`,
				s.SignerID, s.SignerKey, s.TargetID, s.TargetKey, s.Signature); err != nil {
				return fmt.Errorf("storing a signature: %w", err)
			}
		}
		return nil
	})
}

// ListKeySignatures returns the signatures on the keys of the targets that were
// made by the targets themselves or by viewer: others' are nobody else's concern.
func (db *DB) ListKeySignatures(ctx context.Context, targets []string, viewer string) ([]KeySignature, error) {
	rows, err := db.query(ctx, `
		SELECT signer_id, signer_key, target_id, target_key, signature FROM key_signatures
		WHERE target_id = ANY($1) AND (signer_id = target_id OR signer_id = $2)`, pq.StringArray(targets), viewer)
	list, err := collect(rows, err, func(r *sql.Rows) (s KeySignature, err error) {
		return s, r.Scan(&s.SignerID, &s.SignerKey, &s.TargetID, &s.TargetKey, &s.Signature)
	})
	if err != nil {
		return nil, fmt.Errorf("reading signatures: %w", err)
	}
	return list, nil
}
