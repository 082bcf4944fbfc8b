package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// BeginUpload reserves room for what a user is about to upload. reserve is told what the
// user's media take, with what is on its way, and how much of it is younger than a day; it
// says how many bytes to reserve. A user's uploads begin one after the other, so that they
// know of one another. The returned id is for EndUpload.
func (db *DB) BeginUpload(ctx context.Context, userID string, reserve func(all, lately int64) (int64, error)) (id int64, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('media_uploads ' || $1, 0))`, userID); err != nil {
			return fmt.Errorf("waiting for a user's other uploads: %w", err)
		}
		var all, lately, coming int64
		err := tx.QueryRowContext(ctx, `
			SELECT coalesce(sum(f.size), 0)::bigint, coalesce(sum(f.size) FILTER (WHERE m.created_at > now() - interval '1 day'), 0)::bigint,
				(SELECT coalesce(sum(bytes), 0)::bigint FROM media_uploads WHERE user_id = $1)
			FROM media m JOIN media_files f ON f.sha256 = m.sha256 WHERE m.user_id = $1 AND m.user_id <> ''`, userID).Scan(&all, &lately, &coming)
		if err != nil {
			return fmt.Errorf("adding up a user's media: %w", err)
		}
		bytes, err := reserve(all+coming, lately+coming)
		if err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx, `INSERT INTO media_uploads (user_id, bytes) VALUES ($1, $2) RETURNING upload_id`, userID, bytes).Scan(&id)
		if err != nil {
			return fmt.Errorf("reserving room for an upload: %w", err)
		}
		return nil
	})
	return id, err
}

// EndUpload ends a reservation: the media is there, or isn't to come.
func (db *DB) EndUpload(ctx context.Context, id int64) error {
	if _, err := db.exec(ctx, `DELETE FROM media_uploads WHERE upload_id = $1`, id); err != nil {
		return fmt.Errorf("ending an upload: %w", err)
	}
	return nil
}

// ForgetUploads ends the reservations of a process that didn't end them.
func (db *DB) ForgetUploads(ctx context.Context) error {
	if _, err := db.exec(ctx, `DELETE FROM media_uploads`); err != nil {
		return fmt.Errorf("ending the uploads of an earlier process: %w", err)
	}
	return nil
}
