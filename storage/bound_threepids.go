package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// BoundThreepid is an address that a user has published by an identity server.
type BoundThreepid struct{ Medium, Address, IDServer string }

// maxBoundThreepids bounds how many are remembered of a user.
const maxBoundThreepids = 100

// AddBoundThreepid remembers that an address was published. Beyond a bound nothing is
// remembered.
func (db *DB) AddBoundThreepid(ctx context.Context, userID string, b BoundThreepid) error {
	_, err := db.exec(ctx, `
		INSERT INTO bound_threepids (user_id, medium, address, id_server)
		SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM bound_threepids WHERE user_id = $1) < $5
		ON CONFLICT DO NOTHING`, userID, b.Medium, b.Address, b.IDServer, maxBoundThreepids)
	if err != nil {
		return fmt.Errorf("noting a published address: %w", err)
	}
	return nil
}

// BoundThreepids returns where the user has published addresses.
func (db *DB) BoundThreepids(ctx context.Context, userID string) ([]BoundThreepid, error) {
	rows, err := db.query(ctx, `
		SELECT medium, address, id_server FROM bound_threepids WHERE user_id = $1 ORDER BY medium, address, id_server`, userID)
	list, err := collect(rows, err, func(r *sql.Rows) (b BoundThreepid, err error) {
		return b, r.Scan(&b.Medium, &b.Address, &b.IDServer)
	})
	if err != nil {
		return nil, fmt.Errorf("reading a user's published addresses: %w", err)
	}
	return list, nil
}

// RemoveBoundThreepid forgets that an address was published.
func (db *DB) RemoveBoundThreepid(ctx context.Context, userID string, b BoundThreepid) error {
	_, err := db.exec(ctx, `DELETE FROM bound_threepids WHERE user_id = $1 AND medium = $2 AND address = $3 AND id_server = $4`,
		userID, b.Medium, b.Address, b.IDServer)
	if err != nil {
		return fmt.Errorf("forgetting a published address: %w", err)
	}
	return nil
}
