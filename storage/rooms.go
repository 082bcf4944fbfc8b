package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// GetRoom returns the room's row, or ErrNotFound.
func (db *DB) GetRoom(ctx context.Context, roomID string) (*Room, error) {
	r := Room{ID: roomID}
	err := db.scanRow(ctx, `
		SELECT nid, room_version, version, latest_position, depth, forward_extremities, snapshot_nid
		FROM rooms WHERE room_id = $1 AND version > 0`, []any{roomID},
		&r.NID, &r.RoomVersion, &r.Version, &r.LatestPosition, &r.Depth,
		(*pq.StringArray)(&r.ForwardExtremities), &r.SnapshotNID)
	return &r, notFound("reading a room", err)
}

// RoomIDs returns the ids of the rooms with the given numbers.
func (db *DB) RoomIDs(ctx context.Context, rooms []int64) (map[int64]string, error) {
	rows, err := db.query(ctx, `SELECT nid, room_id FROM rooms WHERE nid = ANY($1)`, nids(rooms))
	ids := map[int64]string{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var nid int64
		var id string
		err := r.Scan(&nid, &id)
		ids[nid] = id
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading room ids: %w", err)
	}
	return ids, nil
}
