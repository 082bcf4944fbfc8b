package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/lib/pq"
)

// DeviceKeys are a device's identity keys, as uploaded.
type DeviceKeys struct {
	UserID, DeviceID string
	DisplayName      string
	JSON             json.RawMessage
}

// SetDeviceKeys stores a device's identity keys, and reports whether they differ
// from what was there.
func (db *DB) SetDeviceKeys(ctx context.Context, k DeviceKeys) (changed bool, err error) {
	n, err := db.exec(ctx, `
		INSERT INTO device_keys (user_id, device_id, json) VALUES ($1, $2, $3)
		ON CONFLICT (user_id, device_id) DO UPDATE SET json = excluded.json WHERE device_keys.json <> excluded.json`,
		k.UserID, k.DeviceID, string(k.JSON))
	if err != nil {
		return false, fmt.Errorf("storing device keys: %w", err)
	}
	return n > 0, nil
}

// ListDeviceKeys returns the identity keys of all devices of the users that have
// any.
func (db *DB) ListDeviceKeys(ctx context.Context, userIDs []string) ([]DeviceKeys, error) {
	rows, err := db.query(ctx, `
		SELECT k.user_id, k.device_id, d.display_name, k.json
		FROM device_keys k JOIN devices d USING (user_id, device_id) WHERE k.user_id = ANY($1)`, pq.StringArray(userIDs))
	list, err := collect(rows, err, func(r *sql.Rows) (k DeviceKeys, err error) {
		return k, r.Scan(&k.UserID, &k.DeviceID, &k.DisplayName, (*[]byte)(&k.JSON))
	})
	if err != nil {
		return nil, fmt.Errorf("reading device keys: %w", err)
	}
	return list, nil
}

// DeviceKey is a one-time or fallback key.
type DeviceKey struct {
	Algorithm, KeyID string
	JSON             json.RawMessage
}

// ErrKeyExists is the result of uploading another key under an id that is taken.
var ErrKeyExists = errors.New("another key has this id")

// MaxStock bounds the one-time keys of a device.
const MaxStock = 5000

// AddOneTimeKeys adds keys to a device's stock. The same key again is nothing
// new; another one under the same id is ErrKeyExists, and a stock of more than MaxStock
// ErrTooMany.
func (db *DB) AddOneTimeKeys(ctx context.Context, userID, deviceID string, keys []DeviceKey) error {
	if len(keys) == 0 {
		return nil
	}
	defer db.keyCounts.changed(userID, deviceID)
	return db.inTx(ctx, func(tx *sql.Tx) error {
		// A client that repeats a request while the first is at it may name the keys in another
		// order: without the lock each could wait for a key of the other's.
		if _, err := tx.ExecContext(ctx, `
			SELECT 1 FROM devices WHERE user_id = $1 AND device_id = $2 FOR NO KEY UPDATE`, userID, deviceID); err != nil {
			return fmt.Errorf("locking a device: %w", err)
		}
		for _, k := range keys {
			var same bool
			err := tx.QueryRowContext(ctx, `
				INSERT INTO one_time_keys AS k (user_id, device_id, algorithm, key_id, json) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (user_id, device_id, algorithm, key_id) DO UPDATE SET key_id = excluded.key_id
				RETURNING k.json = $5`, userID, deviceID, k.Algorithm, k.KeyID, string(k.JSON)).Scan(&same)
			if err != nil {
				return fmt.Errorf("storing a one-time key: %w", err)
			}
			if !same {
				return ErrKeyExists
			}
		}
		var n int
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM one_time_keys WHERE user_id = $1 AND device_id = $2`, userID, deviceID).Scan(&n)
		if err != nil {
			return fmt.Errorf("counting one-time keys: %w", err)
		}
		if n > MaxStock {
			return ErrTooMany
		}
		return nil
	})
}

// SetFallbackKeys replaces a device's fallback keys of the same algorithms; new
// ones are unused.
func (db *DB) SetFallbackKeys(ctx context.Context, userID, deviceID string, keys []DeviceKey) error {
	defer db.keyCounts.changed(userID, deviceID)
	for _, k := range keys {
		if _, err := db.exec(ctx, `
			INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, json) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (user_id, device_id, algorithm) DO UPDATE SET key_id = excluded.key_id, json = excluded.json,
				used = fallback_keys.used AND fallback_keys.key_id = excluded.key_id`,
			userID, deviceID, k.Algorithm, k.KeyID, string(k.JSON)); err != nil {
			return fmt.Errorf("storing a fallback key: %w", err)
		}
	}
	return nil
}

// ClaimKey takes a device's oldest one-time key of the algorithm or, when there is
// none left, returns its fallback key. It returns ErrNotFound if there is neither.
func (db *DB) ClaimKey(ctx context.Context, userID, deviceID, algorithm string) (*DeviceKey, error) {
	defer db.keyCounts.changed(userID, deviceID)
	k := DeviceKey{Algorithm: algorithm}
	err := db.scanRow(ctx, `
		DELETE FROM one_time_keys WHERE number = (
			SELECT number FROM one_time_keys WHERE user_id = $1 AND device_id = $2 AND algorithm = $3
			ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING key_id, json`, []any{userID, deviceID, algorithm}, &k.KeyID, (*[]byte)(&k.JSON))
	if errors.Is(err, sql.ErrNoRows) {
		err = db.scanRow(ctx, `
			UPDATE fallback_keys SET used = true WHERE user_id = $1 AND device_id = $2 AND algorithm = $3
			RETURNING key_id, json`, []any{userID, deviceID, algorithm}, &k.KeyID, (*[]byte)(&k.JSON))
	}
	if err := notFound("claiming a key", err); err != nil {
		return nil, err
	}
	return &k, nil
}

// KeyCounts is what a device has in stock: one-time keys by algorithm, and the
// algorithms of fallback keys that weren't used yet.
type KeyCounts struct {
	OneTime  map[string]int
	Fallback []string
}

// maxKeyCounts bounds the devices whose counts are kept in memory.
const maxKeyCounts = 20_000

// keyCounts keeps the counts of devices, which every sync tells: as long as
// nothing is added or claimed they stay the same.
type keyCounts struct {
	mu         sync.Mutex
	known      *lru.Cache[[2]string, KeyCounts]
	generation uint64
}

func newKeyCounts() *keyCounts {
	known, err := lru.New[[2]string, KeyCounts](maxKeyCounts)
	if err != nil {
		panic(err) // only for a size that isn't positive
	}
	return &keyCounts{known: known}
}

// changed forgets a device's counts.
func (k *keyCounts) changed(userID, deviceID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.generation++
	k.known.Remove([2]string{userID, deviceID})
}

func (k *keyCounts) get(userID, deviceID string) (c KeyCounts, generation uint64, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok = k.known.Get([2]string{userID, deviceID})
	return c, k.generation, ok
}

// GetKeyCounts counts a device's keys.
func (db *DB) GetKeyCounts(ctx context.Context, userID, deviceID string) (KeyCounts, error) {
	c, generation, ok := db.keyCounts.get(userID, deviceID)
	if ok {
		return c, nil
	}
	c, err := db.countKeys(ctx, userID, deviceID)
	k := db.keyCounts
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && generation == k.generation {
		k.known.Add([2]string{userID, deviceID}, c)
	}
	return c, err
}

// KnownKeyCounts counts a device's keys if that needs no look into the database.
func (db *DB) KnownKeyCounts(userID, deviceID string) (KeyCounts, bool) {
	c, _, ok := db.keyCounts.get(userID, deviceID)
	return c, ok
}

func (db *DB) countKeys(ctx context.Context, userID, deviceID string) (c KeyCounts, err error) {
	rows, err := db.query(ctx, `
		SELECT algorithm, count(*)::int, false FROM one_time_keys WHERE user_id = $1 AND device_id = $2 GROUP BY algorithm
		UNION ALL
		SELECT algorithm, 0, true FROM fallback_keys WHERE user_id = $1 AND device_id = $2 AND NOT used`, userID, deviceID)
	c = KeyCounts{OneTime: map[string]int{}, Fallback: []string{}}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var algorithm string
		var n int
		var fallback bool
		err := r.Scan(&algorithm, &n, &fallback)
		if fallback {
			c.Fallback = append(c.Fallback, algorithm)
		} else {
			c.OneTime[algorithm] = n
		}
		return struct{}{}, err
	})
	if err != nil {
		return c, fmt.Errorf("counting keys: %w", err)
	}
	return c, nil
}
