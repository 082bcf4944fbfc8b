package storage

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// StickyNote is what there is of sticky events in a room.
type StickyNote struct {
	// Newest is the position of the newest, and Until when the last of them ends, in
	// milliseconds since 1970.
	Newest Position
	Until  int64
	// Past is the position of the newest that lies in the room's past, 0 for none.
	Past Position
}

// StickyNotes returns the rooms that have sticky events.
func (db *DB) StickyNotes(ctx context.Context, now time.Time) (map[int64]StickyNote, error) {
	rows, err := db.query(ctx, `
		SELECT room_nid, max(coalesce(sticky_at, position)), max(sticky_until), coalesce(max(sticky_at), 0) FROM events
		WHERE sticky_until > $1 AND position IS NOT NULL AND flags & 6 = 0 GROUP BY room_nid`, now.UnixMilli())
	notes := map[int64]StickyNote{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var room int64
		var n StickyNote
		err := r.Scan(&room, &n.Newest, &n.Until, &n.Past)
		notes[room] = n
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for sticky events: %w", err)
	}
	return notes, nil
}

// StickyEvents returns up to limit of the sticky events of rooms, in each those after a
// position of its own, up to another, in the order in which they came.
func (db *DB) StickyEvents(ctx context.Context, after map[int64]Position, upTo Position, now time.Time, limit int) ([]*Event, error) {
	nids, positions := since(after).arrays()
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM unnest($1::bigint[], $2::bigint[]) AS w (nid, after) JOIN rooms r ON r.nid = w.nid
		JOIN events e ON e.room_nid = w.nid AND e.sticky_until > $3 AND e.flags & 6 = 0
			AND coalesce(e.sticky_at, e.position) > w.after AND coalesce(e.sticky_at, e.position) <= $4
		ORDER BY coalesce(e.sticky_at, e.position), e.sub LIMIT $5`, nids, positions, now.UnixMilli(), upTo, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading sticky events: %w", err)
	}
	return events, nil
}

// StickyEventsOf returns the numbers of a room's sticky events that users of a server have
// sent, up to a position: the last ones up to limit, the first first.
func (db *DB) StickyEventsOf(ctx context.Context, server string, room int64, upTo Position, now time.Time, limit int) ([]int64, error) {
	rows, err := db.query(ctx, `
		SELECT nid FROM events WHERE room_nid = $2 AND sticky_until > $3 AND position <= $4 AND flags & 6 = 0
			AND right(sender, length($1) + 1) = ':' || $1 ORDER BY position DESC LIMIT $5`, server, room, now.UnixMilli(), upTo, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (nid int64, err error) { return nid, r.Scan(&nid) })
	if err != nil {
		return nil, fmt.Errorf("reading a server's sticky events: %w", err)
	}
	slices.Reverse(list)
	return list, nil
}

// SoftFailedSticky returns up to limit of a room's sticky events that were soft-failed, the
// first first.
func (db *DB) SoftFailedSticky(ctx context.Context, room int64, now time.Time, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.room_nid = $1 AND e.sticky_until > $2 AND e.flags & 7 = 4 ORDER BY e.position LIMIT $3`, room, now.UnixMilli(), limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading sticky events that were soft-failed: %w", err)
	}
	return events, nil
}

// ToldAt is as of when clients are told of a sticky event.
func (e *Event) ToldAt() Position {
	if e.StickyAt != 0 {
		return e.StickyAt
	}
	return e.Position
}

// writeStuck has clients told of sticky events of the past.
func (w *batchWriter) writeStuck(ctx context.Context, changes []*RoomChange) error {
	var nid, at intArray
	for _, c := range changes {
		for _, e := range c.Stuck {
			nid.add(e.NID)
			at.add(e.StickyAt)
		}
	}
	if len(nid.buf) == 0 {
		return nil
	}
	return w.exec(ctx, "noting sticky events of the past", `
		UPDATE events e SET sticky_at = s.at FROM unnest($1::bigint[], $2::bigint[]) AS s (nid, at)
		WHERE e.nid = s.nid AND e.sticky_at IS NULL`, &nid, &at)
}
