package storage

import (
	"context"
	"fmt"
)

// NoticeRoom returns the id of the room in which a user gets notices from the server, or
// ErrNotFound.
func (db *DB) NoticeRoom(ctx context.Context, userID string) (string, error) {
	var room string
	err := db.scanRow(ctx, `SELECT room_id FROM server_notice_rooms WHERE user_id = $1`, []any{userID}, &room)
	return room, notFound("looking for the room of a user's notices", err)
}

// SetNoticeRoom notes in which room a user gets notices from now on.
func (db *DB) SetNoticeRoom(ctx context.Context, userID, roomID string) error {
	_, err := db.exec(ctx, `INSERT INTO server_notice_rooms (user_id, room_id) VALUES ($1, $2)
		ON CONFLICT (user_id) DO UPDATE SET room_id = excluded.room_id`, userID, roomID)
	if err != nil {
		return fmt.Errorf("noting the room of a user's notices: %w", err)
	}
	return nil
}
