package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// ValueSince is a value of a piece of state and the place in the timeline from
// which it held.
type ValueSince struct {
	Place
	Value string
}

// MembershipHistory returns how the user's membership of the room changed over
// the timeline, oldest first.
func (db *DB) MembershipHistory(ctx context.Context, room int64, userID string) ([]ValueSince, error) {
	return db.stateValues(ctx, room, StateTuple{"m.room.member", userID}, "membership")
}

// HistoryVisibilityHistory returns how the room's history visibility changed
// over the timeline, oldest first.
func (db *DB) HistoryVisibilityHistory(ctx context.Context, room int64) ([]ValueSince, error) {
	return db.stateValues(ctx, room, StateTuple{"m.room.history_visibility", ""}, "history_visibility")
}

// stateValues returns the changes of one member of the content of one piece of
// state; events that leave it as it was, such as a new display name, are skipped.
func (db *DB) stateValues(ctx context.Context, room int64, t StateTuple, member string) ([]ValueSince, error) {
	rows, err := db.query(ctx, `
		SELECT position, sub, value FROM (
			SELECT position, sub, value, lag(value) OVER (ORDER BY position, sub) AS before FROM (
				SELECT position, sub, coalesce(json::json->'content'->>$4, '') AS value FROM events
				WHERE room_nid = $1 AND type = $2 AND state_key = $3 AND position IS NOT NULL AND flags & 6 = 0
			) AS every
		) AS changes WHERE value IS DISTINCT FROM before ORDER BY position, sub`,
		room, t.Type, t.StateKey, member)
	list, err := collect(rows, err, func(r *sql.Rows) (v ValueSince, err error) {
		return v, r.Scan(&v.Position, &v.Sub, &v.Value)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the history of %s: %w", t.Type, err)
	}
	return list, nil
}
