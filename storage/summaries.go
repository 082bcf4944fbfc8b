package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// GetRoomSummary returns the room's directory entry; that of a room without one
// is empty.
func (db *DB) GetRoomSummary(ctx context.Context, room int64) (RoomSummary, error) {
	var s RoomSummary
	err := db.scanRow(ctx, `
		SELECT joined_members, invited_members, guest_can_join, name, topic, canonical_alias, avatar_url,
			join_rule, room_type, history_visibility, encryption
		FROM room_summaries WHERE room_nid = $1`, []any{room},
		&s.JoinedMembers, &s.InvitedMembers, &s.GuestCanJoin, &s.Name, &s.Topic, &s.CanonicalAlias, &s.AvatarURL,
		&s.JoinRule, &s.RoomType, &s.HistoryVisibility, &s.Encryption)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s, fmt.Errorf("reading a room's summary: %w", err)
	}
	return s, nil
}
