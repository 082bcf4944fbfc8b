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

// MembershipHistories returns how the user's membership of each room changed over
// its timeline, oldest first.
func (db *DB) MembershipHistories(ctx context.Context, rooms []int64, userID string) (map[int64][]ValueSince, error) {
	return db.stateValues(ctx, rooms, StateTuple{"m.room.member", userID}, "membership", false)
}

// HistoryVisibilityHistories returns how each room's history visibility changed
// over its timeline, oldest first. After a gap it is as in the state there.
func (db *DB) HistoryVisibilityHistories(ctx context.Context, rooms []int64) (map[int64][]ValueSince, error) {
	return db.stateValues(ctx, rooms, StateTuple{"m.room.history_visibility", ""}, "history_visibility", true)
}

// stateValues returns the changes of one member of the content of one piece of
// state; events that leave it as it was, such as a new display name, are skipped.
// gaps says whether the visibility after gaps counts.
func (db *DB) stateValues(ctx context.Context, rooms []int64, t StateTuple, member string, gaps bool) (map[int64][]ValueSince, error) {
	rows, err := db.query(ctx, `
		SELECT room_nid, position, sub, value FROM (
			SELECT room_nid, position, sub, value,
				lag(value) OVER (PARTITION BY room_nid ORDER BY position, sub) AS before
			FROM (
				SELECT room_nid, position, sub, coalesce(event_json(json)->'content'->>$4, '') AS value FROM events
				WHERE room_nid = ANY($1) AND type = $2 AND state_key = $3 AND position IS NOT NULL AND flags & 6 = 0
				UNION ALL
				SELECT room_nid, position, sub - 1, visibility FROM timeline_gaps WHERE room_nid = ANY($1) AND $5
			) AS every
		) AS changes WHERE value IS DISTINCT FROM before ORDER BY room_nid, position, sub`,
		nids(rooms), t.Type, t.StateKey, member, gaps)
	histories := map[int64][]ValueSince{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var room int64
		var v ValueSince
		err := r.Scan(&room, &v.Position, &v.Sub, &v.Value)
		histories[room] = append(histories[room], v)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the history of %s: %w", t.Type, err)
	}
	return histories, nil
}
