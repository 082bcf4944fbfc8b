package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// Handover is what a single server is sent because it shares a room only now: an event, or
// a user's device (with the DeviceID "", their cross-signing keys).
type Handover struct {
	Position Position
	Server   string
	// EventNID is 0 for a device.
	EventNID         int64
	UserID, DeviceID string
}

// ListHandovers returns up to limit of what a server, or with "" any, is handed over after a
// position and up to another, in order.
func (db *DB) ListHandovers(ctx context.Context, server string, after, upTo Position, limit int) ([]Handover, error) {
	rows, err := db.query(ctx, `
		SELECT position, server, coalesce(event_nid, 0), coalesce(user_id, ''), coalesce(device_id, '') FROM federation_handovers
		WHERE ($1 = '' OR server = $1) AND position > $2 AND position <= $3 ORDER BY position LIMIT $4`, server, after, upTo, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (h Handover, err error) {
		return h, r.Scan(&h.Position, &h.Server, &h.EventNID, &h.UserID, &h.DeviceID)
	})
	if err != nil {
		return nil, fmt.Errorf("reading what servers are handed over: %w", err)
	}
	return list, nil
}

// DeleteHandovers removes what a server has taken.
func (db *DB) DeleteHandovers(ctx context.Context, server string, upTo Position) error {
	if _, err := db.exec(ctx, `DELETE FROM federation_handovers WHERE server = $1 AND position <= $2`, server, upTo); err != nil {
		return fmt.Errorf("removing what was handed over: %w", err)
	}
	return nil
}

func (w *batchWriter) writeHandovers(ctx context.Context, p *plan) error {
	var position, event intArray
	var server, user, device textArray
	for _, t := range p.tickets {
		for _, h := range t.change.Handovers {
			position.add(h.Position)
			event.addOrNull(h.EventNID)
			server.add(h.Server)
			user.addOrNull(h.UserID)
			device.add(h.DeviceID)
		}
	}
	if len(position.buf) == 0 {
		return nil
	}
	return w.exec(ctx, "noting what servers are handed over", `
		INSERT INTO federation_handovers (position, event_nid, server, user_id, device_id)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])`,
		&position, &event, &server, &user, &device)
}
