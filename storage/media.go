package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Media is what an mxc:// URI stands for.
type Media struct {
	// Origin and ID are the two parts of mxc://origin/id.
	Origin, ID string
	// UserID is who uploaded it; "" for another server's media.
	UserID      string
	ContentType string
	// Filename is the name given by the uploader; "" if there was none.
	Filename string
	// SHA256 names the content; nil while the id is only reserved.
	SHA256 []byte
	// Expired says that the id was reserved and its time to upload is over.
	Expired bool
	// QuarantinedBy is the administrator who has put it out of reach, "" for nobody.
	QuarantinedBy string
	// Protected says that it can't be quarantined and doesn't go by age.
	Protected bool
}

// ErrTooManyReserved is ReserveMediaID's refusal.
var ErrTooManyReserved = errors.New("too many media ids are reserved")

// GetMedia returns the media of a URI, uploaded or reserved, or ErrNotFound.
func (db *DB) GetMedia(ctx context.Context, origin, id string) (*Media, error) {
	m := Media{Origin: origin, ID: id}
	err := db.scanRow(ctx, `
		SELECT user_id, content_type, filename, sha256, coalesce(expires_at <= now(), false), coalesce(quarantined_by, ''), protected
		FROM media WHERE origin = $1 AND media_id = $2`, []any{origin, id},
		&m.UserID, &m.ContentType, &m.Filename, &m.SHA256, &m.Expired, &m.QuarantinedBy, &m.Protected)
	if err := notFound("reading media", err); err != nil {
		return nil, err
	}
	return &m, nil
}

// AnnounceMediaFile records that a file of this hash and size (in bytes) is about to be put
// in the store. Until it is old (see UnusedMediaFiles) nobody collects it.
func (db *DB) AnnounceMediaFile(ctx context.Context, sha256 []byte, size int64) error {
	_, err := db.exec(ctx, `
		INSERT INTO media_files (sha256, size) VALUES ($1, $2)
		ON CONFLICT (sha256) DO UPDATE SET touched_at = now(), loose = true`, sha256, size)
	if err != nil {
		return fmt.Errorf("announcing a media file: %w", err)
	}
	return nil
}

// referToFile changes rows of media so that they refer to a file, which isn't loose then, and
// returns how many those are.
func (db *DB) referToFile(ctx context.Context, change string, args ...any) (n int64, err error) {
	err = db.scanRow(ctx, `
		WITH done AS (`+change+` RETURNING media.sha256),
		fastened AS (UPDATE media_files SET loose = false WHERE loose AND sha256 IN (SELECT sha256 FROM done))
		SELECT count(*) FROM done`, args, &n)
	return n, err
}

// InsertMedia makes an uploaded file available under its URI. The file must have
// been announced and be in the store. Content that is out of reach stays so.
func (db *DB) InsertMedia(ctx context.Context, m *Media) error {
	_, err := db.referToFile(ctx, `
		INSERT INTO media (origin, media_id, user_id, sha256, content_type, filename, quarantined_by)
		VALUES ($1, $2, $3, $4, $5, $6, (SELECT quarantined_by FROM media WHERE sha256 = $4 AND quarantined_by IS NOT NULL LIMIT 1))`,
		m.Origin, m.ID, m.UserID, m.SHA256, m.ContentType, m.Filename)
	if err != nil {
		return fmt.Errorf("inserting media: %w", err)
	}
	return nil
}

// ReserveMediaID reserves m's URI for its user, who may upload the content
// within the given time, and returns when that time ends. It returns
// ErrTooManyReserved if the user has limit or more such ids; calls at the same
// moment may exceed the limit by their number.
func (db *DB) ReserveMediaID(ctx context.Context, m *Media, within time.Duration, limit int) (time.Time, error) {
	var expires time.Time
	err := db.scanRow(ctx, `
		INSERT INTO media (origin, media_id, user_id, expires_at)
		SELECT $1, $2, $3, now() + make_interval(secs => $4)
		WHERE (SELECT count(*) FROM media
			WHERE user_id = $3 AND sha256 IS NULL AND expires_at > now()) < $5
		RETURNING expires_at`,
		[]any{m.Origin, m.ID, m.UserID, within.Seconds(), limit}, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, ErrTooManyReserved
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reserving a media id: %w", err)
	}
	return expires, nil
}

// CompleteMedia gives a reserved id its content. It returns ErrNotFound if the
// id has content already or is gone.
func (db *DB) CompleteMedia(ctx context.Context, m *Media) error {
	n, err := db.referToFile(ctx, `
		UPDATE media SET sha256 = $3, content_type = $4, filename = $5, expires_at = NULL, created_at = now(), accessed_at = now(),
			quarantined_by = (SELECT quarantined_by FROM media WHERE sha256 = $3 AND quarantined_by IS NOT NULL LIMIT 1)
		WHERE origin = $1 AND media_id = $2 AND sha256 IS NULL`,
		m.Origin, m.ID, m.SHA256, m.ContentType, m.Filename)
	if err != nil {
		return fmt.Errorf("completing media: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}
