package storage

import (
	"context"
	"fmt"
)

// InviteState is what came with an invitation to a room that this server isn't in:
// stripped state events, a JSON array.
type InviteState struct {
	UserID   string
	Stripped []byte
}

// GetInviteState returns the stripped state that came with a user's newest invitation
// from another server, or ErrNotFound.
func (db *DB) GetInviteState(ctx context.Context, room int64, userID string) ([]byte, error) {
	var stripped string
	err := db.scanRow(ctx, `SELECT stripped FROM invite_states WHERE room_nid = $1 AND user_id = $2`, []any{room, userID}, &stripped)
	return []byte(stripped), notFound("reading an invitation's state", err)
}

func (w *batchWriter) writeInviteStates(ctx context.Context, changes []*RoomChange) error {
	for _, c := range changes {
		for _, s := range c.InviteStates {
			if err := w.exec(ctx, "writing an invitation's state", `
				INSERT INTO invite_states (room_nid, user_id, stripped) VALUES ($1, $2, $3)
				ON CONFLICT (room_nid, user_id) DO UPDATE SET stripped = excluded.stripped`,
				c.Room.NID, s.UserID, string(s.Stripped)); err != nil {
				return fmt.Errorf("of %s: %w", s.UserID, err)
			}
		}
	}
	return nil
}
