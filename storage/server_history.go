package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// StateValue is a value that a piece of state took at a place in the timeline; the
// zero place stands for before it.
type StateValue struct {
	ValueSince
	StateKey string
}

// ServerMemberships returns all memberships that users of a server ever had in a
// room, oldest first, those known without a place in the timeline before all others.
func (db *DB) ServerMemberships(ctx context.Context, room int64, server string) ([]StateValue, error) {
	rows, err := db.query(ctx, `
		SELECT coalesce(position, 0), sub, state_key, coalesce(json::json->'content'->>'membership', '') FROM events
		WHERE room_nid = $1 AND type = 'm.room.member' AND state_key IS NOT NULL
			AND right(state_key, length($2) + 1) = ':' || $2 AND flags & 6 = 0
		ORDER BY position NULLS FIRST, sub, depth`, room, server)
	list, err := collect(rows, err, func(r *sql.Rows) (v StateValue, err error) {
		err = r.Scan(&v.Position, &v.Sub, &v.StateKey, &v.Value)
		v.Value = internMembership(v.Value)
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the memberships of a server: %w", err)
	}
	return list, nil
}
