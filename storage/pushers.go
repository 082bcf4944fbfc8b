package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrTooMany is the result of adding one more than a user may have.
var ErrTooMany = errors.New("too many")

// PusherKey names a pusher.
type PusherKey struct{ UserID, AppID, Pushkey string }

// Pusher is where a user wants to be notified.
type Pusher struct {
	PusherKey
	DeviceID                          string // that made it, and takes it away with it
	AppDisplayName, DeviceDisplayName string
	ProfileTag, Lang                  string
	// Data is a JSON object with the gateway's url, the format, and what else the
	// application wants to be handed on.
	Data      []byte
	ChangedAt time.Time
	// Position is how far in the stream the pusher has been told.
	Position Position
}

const pusherColumns = ` user_id, app_id, pushkey, device_id, app_display_name, device_display_name, profile_tag, lang, data, changed_at, position `

func (p *Pusher) fields() []any {
	return []any{&p.UserID, &p.AppID, &p.Pushkey, &p.DeviceID, &p.AppDisplayName, &p.DeviceDisplayName,
		&p.ProfileTag, &p.Lang, &p.Data, &p.ChangedAt, &p.Position}
}

// SetPusher makes a pusher or changes it; one that exists goes on from where it is.
// Unless others may share its key, those of other users with the same key are deleted.
// A user who would have more than the limit gets ErrTooMany.
func (db *DB) SetPusher(ctx context.Context, p Pusher, share bool, limit int) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		if !share {
			if _, err := tx.ExecContext(ctx, `DELETE FROM pushers WHERE app_id = $1 AND pushkey = $2 AND user_id <> $3`,
				p.AppID, p.Pushkey, p.UserID); err != nil {
				return fmt.Errorf("deleting others' pushers of the same key: %w", err)
			}
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO pushers (user_id, app_id, pushkey, device_id, app_display_name, device_display_name, profile_tag, lang, data, position)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET device_id = excluded.device_id,
				app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
				profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data, changed_at = now()`,
			p.UserID, p.AppID, p.Pushkey, p.DeviceID, p.AppDisplayName, p.DeviceDisplayName, p.ProfileTag, p.Lang, string(p.Data), p.Position)
		if err != nil {
			return fmt.Errorf("storing a pusher: %w", err)
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM pushers WHERE user_id = $1`, p.UserID).Scan(&n); err != nil {
			return fmt.Errorf("counting pushers: %w", err)
		}
		if n > limit {
			return ErrTooMany
		}
		return nil
	})
}

// ListPushers returns a user's pushers.
func (db *DB) ListPushers(ctx context.Context, userID string) ([]Pusher, error) {
	rows, err := db.query(ctx, `SELECT`+pusherColumns+`FROM pushers WHERE user_id = $1 ORDER BY app_id, pushkey`, userID)
	list, err := collect(rows, err, func(r *sql.Rows) (p Pusher, err error) { return p, r.Scan(p.fields()...) })
	if err != nil {
		return nil, fmt.Errorf("listing pushers: %w", err)
	}
	return list, nil
}

// GetPusher returns one pusher, or ErrNotFound.
func (db *DB) GetPusher(ctx context.Context, k PusherKey) (*Pusher, error) {
	var p Pusher
	err := db.scanRow(ctx, `SELECT`+pusherColumns+`FROM pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`,
		[]any{k.UserID, k.AppID, k.Pushkey}, p.fields()...)
	return &p, notFound("reading a pusher", err)
}

// PusherPositions returns how far each pusher of the server has been told.
func (db *DB) PusherPositions(ctx context.Context) (map[PusherKey]Position, error) {
	rows, err := db.query(ctx, `SELECT user_id, app_id, pushkey, position FROM pushers`)
	all := map[PusherKey]Position{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var k PusherKey
		var p Position
		err := r.Scan(&k.UserID, &k.AppID, &k.Pushkey, &p)
		all[k] = p
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading how far pushers have been told: %w", err)
	}
	return all, nil
}

// DeletePusher deletes a user's pusher if it exists.
func (db *DB) DeletePusher(ctx context.Context, k PusherKey) error {
	_, err := db.exec(ctx, `DELETE FROM pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`, k.UserID, k.AppID, k.Pushkey)
	if err != nil {
		return fmt.Errorf("deleting a pusher: %w", err)
	}
	return nil
}

// DeletePushkey deletes all pushers with an application's key, whosever they are.
func (db *DB) DeletePushkey(ctx context.Context, appID, pushkey string) error {
	if _, err := db.exec(ctx, `DELETE FROM pushers WHERE app_id = $1 AND pushkey = $2`, appID, pushkey); err != nil {
		return fmt.Errorf("deleting the pushers of a rejected key: %w", err)
	}
	return nil
}

// SetPusherPosition stores how far a pusher has been told; it never goes back.
func (db *DB) SetPusherPosition(ctx context.Context, k PusherKey, p Position) error {
	_, err := db.exec(ctx, `UPDATE pushers SET position = $4
		WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND position < $4`, k.UserID, k.AppID, k.Pushkey, p)
	if err != nil {
		return fmt.Errorf("storing how far a pusher has been told: %w", err)
	}
	return nil
}

// AdvancePushers moves all pushers on to a position but for those that are still
// being told of something before it.
func (db *DB) AdvancePushers(ctx context.Context, to Position, busy []PusherKey) error {
	var user, app, key textArray
	for _, k := range busy {
		user.add(k.UserID)
		app.add(k.AppID)
		key.add(k.Pushkey)
	}
	_, err := db.exec(ctx, `
		UPDATE pushers SET position = $1 WHERE position < $1 AND (user_id, app_id, pushkey) NOT IN (
			SELECT * FROM unnest($2::text[], $3::text[], $4::text[]))`, to, &user, &app, &key)
	if err != nil {
		return fmt.Errorf("moving pushers on: %w", err)
	}
	return nil
}
