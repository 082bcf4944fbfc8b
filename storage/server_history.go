package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// StateValue is a value that a piece of state took at a place in the timeline.
type StateValue struct {
	ValueSince
	StateKey string
}

// ServerMemberships returns all memberships that users of a server ever had in a
// room, as far as the timeline tells, oldest first. After a gap they are as in the state
// there.
func (db *DB) ServerMemberships(ctx context.Context, room int64, server string) ([]StateValue, error) {
	rows, err := db.query(ctx, `
		WITH RECURSIVE chain AS (
			SELECT g.position, g.sub, s.parent_nid, s.depth, s.event_nids FROM timeline_gaps g JOIN state_snapshots s ON s.nid = g.snapshot_nid
			WHERE g.room_nid = $1
			UNION ALL
			SELECT c.position, c.sub, s.parent_nid, s.depth, s.event_nids FROM chain c JOIN state_snapshots s ON s.nid = c.parent_nid
		)
		SELECT position, sub, state_key, coalesce(event_json(json)->'content'->>'membership', ''), 0 AS level FROM events
		WHERE room_nid = $1 AND type = 'm.room.member' AND state_key IS NOT NULL AND position IS NOT NULL
			AND right(state_key, length($2) + 1) = ':' || $2 AND flags & 6 = 0
		UNION ALL
		SELECT c.position, c.sub - 1, e.state_key, coalesce(event_json(e.json)->'content'->>'membership', ''), c.depth
		FROM chain c CROSS JOIN LATERAL unnest(c.event_nids) AS u (nid) JOIN events e ON e.nid = u.nid
		WHERE e.type = 'm.room.member' AND e.state_key IS NOT NULL AND right(e.state_key, length($2) + 1) = ':' || $2
		ORDER BY position, sub, level`, room, server)
	list, err := collect(rows, err, func(r *sql.Rows) (v StateValue, err error) {
		var level int64
		err = r.Scan(&v.Position, &v.Sub, &v.StateKey, &v.Value, &level)
		v.Value = internMembership(v.Value)
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the memberships of a server: %w", err)
	}
	return list, nil
}
