package storage

import (
	"context"

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
	if err != nil {
		return nil, notFound("reading a room", err)
	}
	r.Partial, err = db.getPartial(ctx, r.NID)
	return &r, err
}

// RoomHead is everything about a room that a new event is built on, as of one
// moment.
type RoomHead struct {
	Room    Room
	State   StateMap
	Summary RoomSummary
	Chain   []Snapshot
}

// GetRoomHead returns a room's newest state, or ErrNotFound.
func (db *DB) GetRoomHead(ctx context.Context, roomID string) (h RoomHead, err error) {
	err = db.snapshot(ctx, func(db *DB) error {
		room, err := db.GetRoom(ctx, roomID)
		if err != nil {
			return err
		}
		h.Room = *room
		if h.State, err = db.CurrentState(ctx, room.NID); err != nil {
			return err
		}
		if h.Summary, err = db.GetRoomSummary(ctx, room.NID); err != nil {
			return err
		}
		h.Chain, err = db.SnapshotChain(ctx, room.SnapshotNID)
		return err
	})
	return h, err
}
