package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// DeleteExpiredMedia forgets the reserved ids whose time to upload ended longer
// than grace ago, and returns how many there were.
func (db *DB) DeleteExpiredMedia(ctx context.Context, grace time.Duration) (int64, error) {
	n, err := db.exec(ctx, `
		DELETE FROM media WHERE sha256 IS NULL AND expires_at < now() - make_interval(secs => $1)`,
		grace.Seconds())
	if err != nil {
		return 0, fmt.Errorf("deleting expired media ids: %w", err)
	}
	return n, nil
}

// UnusedMediaFiles returns the hashes of at most limit files that no media
// refers to (of those that aren't loose something does) and that were announced longer than age ago.
func (db *DB) UnusedMediaFiles(ctx context.Context, age time.Duration, limit int) ([][]byte, error) {
	rows, err := db.query(ctx, `
		SELECT f.sha256 FROM media_files f
		WHERE f.loose AND f.touched_at < now() - make_interval(secs => $1)
			AND NOT EXISTS (SELECT FROM media m WHERE m.sha256 = f.sha256)
		ORDER BY f.touched_at LIMIT $2`, age.Seconds(), limit)
	hashes, err := collect(rows, err, func(r *sql.Rows) (h []byte, err error) { return h, r.Scan(&h) })
	if err != nil {
		return nil, fmt.Errorf("listing unused media files: %w", err)
	}
	return hashes, nil
}

// DeleteUnusedMediaFile deletes a file's row and calls remove to delete the file
// itself, if the file is still unused and still old. The row stays locked
// meanwhile, so that an upload of the same content waits and then puts its file
// in place again; if remove fails, the row stays for another try.
func (db *DB) DeleteUnusedMediaFile(ctx context.Context, sha256 []byte, age time.Duration, remove func() error) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			DELETE FROM media_files f
			WHERE f.sha256 = $1 AND f.touched_at < now() - make_interval(secs => $2)
				AND NOT EXISTS (SELECT FROM media m WHERE m.sha256 = f.sha256)`, sha256, age.Seconds())
		if err != nil {
			return fmt.Errorf("deleting an unused media file: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return remove()
	})
}

// MediaFile is a file of the store.
type MediaFile struct {
	SHA256 []byte
	Size   int64
}

// MediaFiles returns up to limit files after the given hash, nil for the first.
func (db *DB) MediaFiles(ctx context.Context, after []byte, limit int) ([]MediaFile, error) {
	rows, err := db.query(ctx, `SELECT sha256, size FROM media_files WHERE $1::bytea IS NULL OR sha256 > $1 ORDER BY sha256 LIMIT $2`, after, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (f MediaFile, err error) { return f, r.Scan(&f.SHA256, &f.Size) })
	if err != nil {
		return nil, fmt.Errorf("listing media files: %w", err)
	}
	return list, nil
}
