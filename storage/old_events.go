package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"
)

// OldEvents are events that are found missing in a room's timeline, and go where they
// belong. They aren't news: the stream doesn't know of them.
type OldEvents struct {
	// Gap is the gap that they lie behind, as it was read.
	Gap Gap
	// Events are what goes there, with places; those in Known are stored as outliers.
	Events []*Event
	Known  map[int64]bool
	// Redacted are events from elsewhere in the timeline that these redact.
	Redacted  []*Event
	Snapshots []Snapshot
	// Left is the gap that is left, nil if it closes.
	Left *Gap
}

// ErrGapMoved is the result of adding old events behind a gap that isn't where it was.
var ErrGapMoved = errors.New("the gap has been filled by another")

// AddOldEvents stores events behind a gap.
func (db *DB) AddOldEvents(ctx context.Context, o *OldEvents) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		var sub int32
		err := tx.QueryRowContext(ctx, `SELECT sub FROM timeline_gaps WHERE room_nid = $1 AND position = $2 FOR UPDATE`,
			o.Gap.RoomNID, o.Gap.Position).Scan(&sub)
		if errors.Is(err, sql.ErrNoRows) || err == nil && sub != o.Gap.Sub {
			return ErrGapMoved
		}
		if err != nil {
			return fmt.Errorf("looking at a gap: %w", err)
		}
		for _, write := range []func(context.Context, *sql.Tx, *OldEvents) error{insertOldSnapshots, insertOldEvents, placeOldEvents, relateOldEvents, redactByOldEvents, notePastToSearch, moveGap} {
			if err := write(ctx, tx, o); err != nil {
				return err
			}
		}
		return nil
	})
}

func insertOldSnapshots(ctx context.Context, tx *sql.Tx, o *OldEvents) error {
	for _, s := range o.Snapshots {
		if _, err := tx.ExecContext(ctx, `INSERT INTO state_snapshots (nid, room_nid, parent_nid, depth, event_nids) VALUES ($1, $2, $3, $4, $5)`,
			s.NID, o.Gap.RoomNID, nullZero(s.ParentNID), s.Depth, pq.Int64Array(s.EventNIDs)); err != nil {
			return fmt.Errorf("storing the state at old events: %w", err)
		}
	}
	return nil
}

func nullZero(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n != 0} }

// insertOldEvents inserts the events that aren't stored yet.
func insertOldEvents(ctx context.Context, tx *sql.Tx, o *OldEvents) error {
	var nid, position, snapshot, replaces, depth, ts, sub, flags, sticky intArray
	var id, typ, stateKey, sender, redactedBy, json textArray
	for _, e := range o.Events {
		if o.Known[e.NID] {
			continue
		}
		nid.add(e.NID)
		position.add(e.Position)
		snapshot.addOrNull(e.SnapshotNID)
		replaces.addOrNull(e.ReplacesNID)
		depth.add(e.Depth)
		ts.add(e.OriginTS)
		sub.add(int64(e.Sub))
		flags.add(int64(e.Flags))
		id.add(e.ID)
		typ.add(e.Type)
		if e.StateKey == nil {
			stateKey.addNull()
		} else {
			stateKey.add(*e.StateKey)
		}
		sender.add(e.Sender)
		redactedBy.addOrNull(e.RedactedBy)
		json.add(string(e.JSON))
		sticky.addOrNull(e.StickyUntil)
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO events (room_nid, nid, position, snapshot_nid, replaces_nid, depth, origin_ts, sub, flags,
			event_id, type, state_key, sender, redacted_by, json, sticky_until)
		SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::int[], $9::smallint[],
			$10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::bigint[])`, o.Gap.RoomNID,
		&nid, &position, &snapshot, &replaces, &depth, &ts, &sub, &flags, &id, &typ, &stateKey, &sender, &redactedBy, &json, &sticky); err != nil {
		return fmt.Errorf("storing old events: %w", err)
	}
	return nil
}

// placeOldEvents gives those that are stored their place.
func placeOldEvents(ctx context.Context, tx *sql.Tx, o *OldEvents) error {
	var nid, position, snapshot, replaces, sub, flags intArray
	for _, e := range o.Events {
		if !o.Known[e.NID] {
			continue
		}
		nid.add(e.NID)
		position.add(e.Position)
		snapshot.addOrNull(e.SnapshotNID)
		replaces.addOrNull(e.ReplacesNID)
		sub.add(int64(e.Sub))
		flags.add(int64(e.Flags))
	}
	if _, err := tx.ExecContext(ctx, `
		UPDATE events e SET position = p.position, snapshot_nid = p.snapshot_nid, replaces_nid = p.replaces_nid, sub = p.sub, flags = p.flags
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[], $6::smallint[])
			AS p (nid, position, snapshot_nid, replaces_nid, sub, flags)
		WHERE e.nid = p.nid AND e.position IS NULL`, &nid, &position, &snapshot, &replaces, &sub, &flags); err != nil {
		return fmt.Errorf("placing old events: %w", err)
	}
	return nil
}

func relateOldEvents(ctx context.Context, tx *sql.Tx, o *OldEvents) error {
	for _, e := range o.Events {
		r, ok := e.Relation()
		if !ok {
			continue
		}
		if _, err := tx.ExecContext(ctx, `
			WITH own AS MATERIALIZED (
				SELECT WHERE NOT EXISTS (SELECT FROM events p WHERE p.event_id = $5 AND p.room_nid <> $2)
			), related AS (
				INSERT INTO event_relations (nid, room_nid, position, sub, parent_id, rel_type, event_type, sender, key)
				SELECT $1::bigint, $2, $3::bigint, $4::int, $5, $6, $7, $8, $9 FROM own ON CONFLICT DO NOTHING
			) INSERT INTO threads AS t (room_nid, root_id, latest_position, latest_sub) SELECT $2, $5, $3, $4 FROM own WHERE $6 = 'm.thread'
			ON CONFLICT (room_nid, root_id) DO UPDATE SET latest_position = excluded.latest_position, latest_sub = excluded.latest_sub
			WHERE (t.latest_position, t.latest_sub) < (excluded.latest_position, excluded.latest_sub)`,
			e.NID, e.RoomNID, e.Position, e.Sub, r.EventID, r.Type, e.Type, e.Sender, r.Key); err != nil {
			return fmt.Errorf("relating old events: %w", err)
		}
	}
	return nil
}

func redactByOldEvents(ctx context.Context, tx *sql.Tx, o *OldEvents) error {
	for _, r := range o.Redacted {
		if _, err := tx.ExecContext(ctx, `UPDATE events SET redacted_by = $2, json = $3, notifies = false, sticky_until = NULL WHERE nid = $1 AND redacted_by IS NULL`,
			r.NID, r.RedactedBy, string(r.JSON)); err != nil {
			return fmt.Errorf("redacting by an old event: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `WITH gone AS (
				DELETE FROM event_relations WHERE nid = $1 RETURNING nid, room_nid, parent_id, rel_type
			) `+shortenThreadsSQL, r.NID); err != nil {
			return fmt.Errorf("redacting by an old event: %w", err)
		}
	}
	return nil
}

func moveGap(ctx context.Context, tx *sql.Tx, o *OldEvents) error {
	var err error
	if l := o.Left; l != nil {
		_, err = tx.ExecContext(ctx, `UPDATE timeline_gaps SET sub = $3, snapshot_nid = $4, visibility = $5, missing = $6 WHERE room_nid = $1 AND position = $2`,
			l.RoomNID, l.Position, l.Sub, l.SnapshotNID, l.Visibility, pq.StringArray(l.Missing))
	} else {
		_, err = tx.ExecContext(ctx, `DELETE FROM timeline_gaps WHERE room_nid = $1 AND position = $2`, o.Gap.RoomNID, o.Gap.Position)
	}
	if err != nil {
		return fmt.Errorf("moving a gap: %w", err)
	}
	return nil
}
