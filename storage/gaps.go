package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// Gap is a place in a room's timeline before which events are missing.
type Gap struct {
	RoomNID int64
	// Place is that of the event behind which the gap is.
	Place
	// SnapshotNID is the state before that event, and Visibility the history visibility
	// in it, "" for none.
	SnapshotNID int64
	Visibility  string
	// Missing are the events that come right before what is there.
	Missing []string
	// Event is, in a RoomChange, the index of the event at the place.
	Event int
}

// maxGaps bounds the gaps of a room that are ever filled. Of older ones only the state
// there still counts.
const maxGaps = 1000

// Gaps returns the newest gaps of the rooms' timelines, the newest first.
func (db *DB) Gaps(ctx context.Context, rooms []int64) (map[int64][]Gap, error) {
	rows, err := db.query(ctx, `
		SELECT room_nid, position, sub, snapshot_nid, visibility, missing FROM unnest($1::bigint[]) AS room (nid) CROSS JOIN LATERAL (
			SELECT * FROM timeline_gaps WHERE room_nid = room.nid ORDER BY position DESC LIMIT $2) AS newest
		ORDER BY position DESC`, nids(rooms), maxGaps)
	byRoom := map[int64][]Gap{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var g Gap
		err := r.Scan(&g.RoomNID, &g.Position, &g.Sub, &g.SnapshotNID, &g.Visibility, (*pq.StringArray)(&g.Missing))
		byRoom[g.RoomNID] = append(byRoom[g.RoomNID], g)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the gaps of timelines: %w", err)
	}
	return byRoom, nil
}

func (w *batchWriter) writeGaps(ctx context.Context, changes []*RoomChange) error {
	for _, c := range changes {
		for _, g := range c.Gaps {
			if err := w.exec(ctx, "writing a gap of a timeline", `
				INSERT INTO timeline_gaps (room_nid, position, snapshot_nid, visibility, missing) VALUES ($1, $2, $3, $4, $5)`,
				c.Room.NID, c.Events[g.Event].Position, g.SnapshotNID, g.Visibility, pq.StringArray(g.Missing)); err != nil {
				return err
			}
		}
	}
	return nil
}

// PendingRedaction is a redaction of an event that isn't known.
type PendingRedaction struct{ Target, RedactionID string }

// PendingRedactions returns the redactions of events that weren't known when these
// came.
func (db *DB) PendingRedactions(ctx context.Context, room int64, targets []string) ([]PendingRedaction, error) {
	rows, err := db.query(ctx, `
		SELECT target, redaction_id FROM pending_redactions WHERE target = ANY($2) AND room_nid = $1`, room, pq.StringArray(targets))
	list, err := collect(rows, err, func(r *sql.Rows) (p PendingRedaction, err error) {
		return p, r.Scan(&p.Target, &p.RedactionID)
	})
	if err != nil {
		return nil, fmt.Errorf("reading redactions: %w", err)
	}
	return list, nil
}

func (w *batchWriter) writePendingRedactions(ctx context.Context, changes []*RoomChange) error {
	for _, c := range changes {
		for _, p := range c.PendingRedactions {
			if err := w.exec(ctx, "keeping a redaction", `
				INSERT INTO pending_redactions (room_nid, target, redaction_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
				c.Room.NID, p.Target, p.RedactionID); err != nil {
				return err
			}
		}
	}
	return nil
}
