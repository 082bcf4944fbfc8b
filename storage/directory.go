package storage

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/lib/pq"
)

// PublishedRoom is a row of the room directory.
type PublishedRoom struct {
	RoomID string
	RoomSummary
}

// DirectoryQuery says which published rooms to list.
type DirectoryQuery struct {
	// Search, unless "", wants it in the name, the topic or the canonical alias.
	Search string
	// RoomTypes, unless nil, wants one of these types; "" is a room without one.
	RoomTypes     []string
	Offset, Limit int
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// PublishedRooms lists published rooms, the biggest first, and how many there are
// in all.
func (db *DB) PublishedRooms(ctx context.Context, q DirectoryQuery) (rooms []PublishedRoom, total int, err error) {
	pattern := "%" + likeEscape.Replace(q.Search) + "%"
	rows, err := db.query(ctx, `
		SELECT r.room_id, s.joined_members, s.guest_can_join, s.name, s.topic, s.canonical_alias, s.avatar_url,
			s.join_rule, s.room_type, s.history_visibility, s.encryption, count(*) OVER ()
		FROM room_summaries s JOIN rooms r ON r.nid = s.room_nid
		WHERE s.published AND ($1 = '%%' OR s.name ILIKE $1 OR s.topic ILIKE $1 OR s.canonical_alias ILIKE $1)
			AND ($2::text[] IS NULL OR s.room_type = ANY($2))
		ORDER BY s.joined_members DESC, s.room_nid OFFSET $3 LIMIT $4`,
		pattern, pq.StringArray(q.RoomTypes), q.Offset, q.Limit)
	rooms, err = collect(rows, err, func(r *sql.Rows) (p PublishedRoom, err error) {
		return p, r.Scan(&p.RoomID, &p.JoinedMembers, &p.GuestCanJoin, &p.Name, &p.Topic, &p.CanonicalAlias, &p.AvatarURL,
			&p.JoinRule, &p.RoomType, &p.HistoryVisibility, &p.Encryption, &total)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("listing published rooms: %w", err)
	}
	return rooms, total, nil
}

// IsPublished reports whether the room is in the directory.
func (db *DB) IsPublished(ctx context.Context, room int64) (bool, error) {
	var published bool
	err := db.scanRow(ctx, `SELECT coalesce((SELECT published FROM room_summaries WHERE room_nid = $1), false)`, []any{room}, &published)
	if err != nil {
		return false, fmt.Errorf("looking a room up in the directory: %w", err)
	}
	return published, nil
}

// SetPublished puts the room into the directory or takes it out.
func (db *DB) SetPublished(ctx context.Context, room int64, published bool) error {
	if _, err := db.exec(ctx, `UPDATE room_summaries SET published = $2 WHERE room_nid = $1`, room, published); err != nil {
		return fmt.Errorf("publishing a room: %w", err)
	}
	return nil
}
