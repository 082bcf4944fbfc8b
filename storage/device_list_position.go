package storage

import (
	"context"
	"fmt"
)

// DeviceListPosition is when the user's devices or their keys last changed, 0 for
// never.
func (db *DB) DeviceListPosition(ctx context.Context, userID string) (Position, error) {
	var p Position
	err := db.scanRow(ctx, `SELECT coalesce((SELECT position FROM device_lists WHERE user_id = $1), 0)`, []any{userID}, &p)
	if err != nil {
		return 0, fmt.Errorf("reading when devices changed: %w", err)
	}
	return p, nil
}
