package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"
)

// ServerKey is a signing key of a server. Times are milliseconds since 1970.
type ServerKey struct {
	Server, KeyID string
	PublicKey     []byte
	ValidUntil    int64
	ExpiredAt     int64 // 0 while the key is in use
}

// ListServerKeys returns all known keys of the servers.
func (db *DB) ListServerKeys(ctx context.Context, servers []string) ([]ServerKey, error) {
	rows, err := db.query(ctx, `
		SELECT server, key_id, public_key, valid_until, expired_at FROM server_keys WHERE server = ANY($1)`, pq.StringArray(servers))
	list, err := collect(rows, err, func(r *sql.Rows) (k ServerKey, err error) {
		return k, r.Scan(&k.Server, &k.KeyID, &k.PublicKey, &k.ValidUntil, &k.ExpiredAt)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the keys of servers: %w", err)
	}
	return list, nil
}

// StoreServerKeys stores keys. Another public key under a known id takes its place
// only with replace.
func (db *DB) StoreServerKeys(ctx context.Context, keys []ServerKey, replace bool) error {
	var server, id textArray
	var validUntil, expiredAt intArray
	public := make(pq.ByteaArray, 0, len(keys))
	for _, k := range keys {
		server.add(k.Server)
		id.add(k.KeyID)
		public = append(public, k.PublicKey)
		validUntil.add(k.ValidUntil)
		expiredAt.add(k.ExpiredAt)
	}
	_, err := db.exec(ctx, `
		INSERT INTO server_keys AS k (server, key_id, public_key, valid_until, expired_at)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[])
		ON CONFLICT (server, key_id) DO UPDATE SET public_key = excluded.public_key, expired_at = excluded.expired_at,
			valid_until = CASE WHEN k.public_key = excluded.public_key
				THEN greatest(k.valid_until, excluded.valid_until) ELSE excluded.valid_until END
		WHERE $6 OR k.public_key = excluded.public_key AND k.expired_at = 0`,
		&server, &id, public, &validUntil, &expiredAt, replace)
	if err != nil {
		return fmt.Errorf("storing the keys of servers: %w", err)
	}
	return nil
}

// ExpireServerKeys marks all of a server's keys but one as no longer in use.
func (db *DB) ExpireServerKeys(ctx context.Context, server, keep string, at int64) error {
	_, err := db.exec(ctx, `
		UPDATE server_keys SET expired_at = $3 WHERE server = $1 AND key_id <> $2 AND expired_at = 0`, server, keep, at)
	if err != nil {
		return fmt.Errorf("expiring old keys: %w", err)
	}
	return nil
}

// ServerKeyObject is the signed JSON in which a server published its keys.
type ServerKeyObject struct {
	Server                string
	JSON                  []byte
	ValidUntil, FetchedAt int64
}

// ListServerKeyObjects returns what is known of the servers' published keys.
func (db *DB) ListServerKeyObjects(ctx context.Context, servers []string) ([]ServerKeyObject, error) {
	rows, err := db.query(ctx, `
		SELECT server, json, valid_until, fetched_at FROM server_key_objects WHERE server = ANY($1)`, pq.StringArray(servers))
	list, err := collect(rows, err, func(r *sql.Rows) (o ServerKeyObject, err error) {
		return o, r.Scan(&o.Server, &o.JSON, &o.ValidUntil, &o.FetchedAt)
	})
	if err != nil {
		return nil, fmt.Errorf("reading published keys: %w", err)
	}
	return list, nil
}

// StoreServerKeyObject stores what a server has published, if it is the newest.
func (db *DB) StoreServerKeyObject(ctx context.Context, o ServerKeyObject) error {
	_, err := db.exec(ctx, `
		INSERT INTO server_key_objects AS k (server, json, valid_until, fetched_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (server) DO UPDATE SET json = excluded.json, valid_until = excluded.valid_until, fetched_at = excluded.fetched_at
		WHERE excluded.valid_until >= k.valid_until`, o.Server, string(o.JSON), o.ValidUntil, o.FetchedAt)
	if err != nil {
		return fmt.Errorf("storing published keys: %w", err)
	}
	return nil
}

// Destination is a server that couldn't be reached. Times are milliseconds since
// 1970.
type Destination struct {
	Server       string
	FailingSince int64
	RetryAt      int64
	FailedAt     int64
	Failures     int
	LastError    string
}

// GetDestination returns how a server failed last; a server that answers has no
// failures.
func (db *DB) GetDestination(ctx context.Context, server string) (Destination, error) {
	d := Destination{Server: server}
	err := db.scanRow(ctx, `SELECT failing_since, retry_at, failures, failed_at, last_error FROM destinations WHERE server = $1`,
		[]any{server}, &d.FailingSince, &d.RetryAt, &d.Failures, &d.FailedAt, &d.LastError)
	if err = notFound("reading how a server failed", err); errors.Is(err, ErrNotFound) {
		err = nil
	}
	return d, err
}

// SetDestination stores how a server failed, or that it didn't.
func (db *DB) SetDestination(ctx context.Context, d Destination) error {
	var err error
	if d.Failures == 0 {
		_, err = db.exec(ctx, `DELETE FROM destinations WHERE server = $1`, d.Server)
	} else {
		_, err = db.exec(ctx, `
			INSERT INTO destinations (server, failing_since, retry_at, failures, failed_at, last_error) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (server) DO UPDATE SET failing_since = excluded.failing_since, retry_at = excluded.retry_at,
				failures = excluded.failures, failed_at = excluded.failed_at, last_error = excluded.last_error`,
			d.Server, d.FailingSince, d.RetryAt, d.Failures, d.FailedAt, d.LastError)
	}
	if err != nil {
		return fmt.Errorf("storing how a server failed: %w", err)
	}
	return nil
}
