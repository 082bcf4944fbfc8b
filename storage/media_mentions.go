package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// MediaURI is the two parts of mxc://origin/id.
type MediaURI struct{ Origin, ID string }

// FollowMediaMentions looks through up to step positions of the stream for events that
// name media, as find tells from their JSON, and notes them. It returns whether it has come
// to the end.
func (db *DB) FollowMediaMentions(ctx context.Context, step int64, find func(json []byte) []MediaURI) (done bool, err error) {
	head := db.Stream.Position()
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		var from int64
		if err := tx.QueryRowContext(ctx, `SELECT position FROM media_mentions_position FOR UPDATE`).Scan(&from); err != nil {
			return fmt.Errorf("reading how far mentions of media are known: %w", err)
		}
		to := min(head, from+step)
		if done = to >= head; to <= from {
			return nil
		}
		if err := noteMentions(ctx, tx, from, to, find); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE media_mentions_position SET position = $1`, to)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("following mentions of media: %w", err)
	}
	return done, nil
}

func noteMentions(ctx context.Context, tx *sql.Tx, from, to int64, find func(json []byte) []MediaURI) error {
	rows, err := tx.QueryContext(ctx, `
		SELECT nid, room_nid, json FROM events
		WHERE position > $1 AND position <= $2 AND flags & 3 = 0 AND strpos(json, 'mxc://') > 0`, from, to)
	var nids, rooms intArray
	var origins, ids textArray
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var nid, room int64
		var json []byte
		err := r.Scan(&nid, &room, &json)
		for _, u := range find(json) {
			nids.add(nid)
			rooms.add(room)
			origins.add(u.Origin)
			ids.add(u.ID)
		}
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO media_mentions (event_nid, room_nid, origin, media_id)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING`, &nids, &rooms, &origins, &ids)
	return err
}

func (u MediaURI) String() string { return "mxc://" + u.Origin + "/" + u.ID }

// RoomMedia returns up to limit of the URIs that events of a room name.
func (db *DB) RoomMedia(ctx context.Context, roomID string, limit int) ([]MediaURI, error) {
	rows, err := db.query(ctx, `
		SELECT DISTINCT origin, media_id FROM media_mentions
		WHERE room_nid = (SELECT nid FROM rooms WHERE room_id = $1)
		ORDER BY origin, media_id LIMIT $2`, roomID, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (u MediaURI, err error) { return u, r.Scan(&u.Origin, &u.ID) })
	if err != nil {
		return nil, fmt.Errorf("listing a room's media: %w", err)
	}
	return list, nil
}
