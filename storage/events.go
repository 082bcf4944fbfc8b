package storage

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// eventColumns are read by scanEvent; rooms must be joined as r.
const eventColumns = ` e.nid, e.room_nid, r.room_id, coalesce(e.position, 0), e.sub, e.event_id, e.type, e.state_key, e.sender,
	e.origin_ts, e.depth, coalesce(e.snapshot_nid, 0), coalesce(e.replaces_nid, 0), e.flags, e.notifies,
	coalesce(e.redacted_by, ''), coalesce(e.sticky_until, 0), coalesce(e.sticky_at, 0), e.txn_key, coalesce(e.txn_device, ''), coalesce(e.txn_id, ''), e.json `

func scanEvent(r *sql.Rows) (*Event, error) { return scanEventAnd(r) }

// scanEventAnd scans an event and the columns that come after it.
func scanEventAnd(r *sql.Rows, more ...any) (*Event, error) {
	var e Event
	var key uuid.NullUUID
	err := r.Scan(append([]any{&e.NID, &e.RoomNID, &e.RoomID, &e.Position, &e.Sub, &e.ID, &e.Type, &e.StateKey, &e.Sender,
		&e.OriginTS, &e.Depth, &e.SnapshotNID, &e.ReplacesNID, &e.Flags, &e.Notifies,
		&e.RedactedBy, &e.StickyUntil, &e.StickyAt, &key, &e.TxnDevice, &e.TxnID, &e.JSON}, more...)...)
	e.TxnKey = key.UUID
	return &e, err
}

// EventsByNID returns those of the events that exist, in no order.
func (db *DB) EventsByNID(ctx context.Context, list []int64) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid WHERE e.nid = ANY($1)`, nids(list))
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading events by number: %w", err)
	}
	return events, nil
}

// EventsByID returns those of the events that exist, in no order. Ids come from other events as well, where they may be anything.
func (db *DB) EventsByID(ctx context.Context, ids []string) ([]*Event, error) {
	if strings.Contains(strings.Join(ids, ""), "\x00") {
		ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return strings.Contains(id, "\x00") }) // which no event has
	}
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid WHERE e.event_id = ANY($1)`, pq.StringArray(ids))
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading events by id: %w", err)
	}
	return events, nil
}

// EventIDByTxn returns the event that was sent with the transaction key, or
// ErrNotFound.
func (db *DB) EventIDByTxn(ctx context.Context, key [16]byte) (string, error) {
	var id string
	err := db.scanRow(ctx, `SELECT event_id FROM events WHERE txn_key = $1`, []any{uuid.UUID(key)}, &id)
	return id, notFound("looking up a transaction", err)
}

// TimelineBefore returns up to limit events of the room's timeline before the
// place and after the floor (exclusive both), newest first. Rejected and
// soft-failed events are not part of the timeline.
func (db *DB) TimelineBefore(ctx context.Context, room int64, before, floor Place, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.room_nid = $1 AND (e.position, e.sub) < ($2, $3) AND (e.position, e.sub) > ($4, $5)
			AND e.position IS NOT NULL AND e.flags & 6 = 0
		ORDER BY e.position DESC, e.sub DESC LIMIT $6`,
		room, before.Position, before.Sub, floor.Position, floor.Sub, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading the timeline backwards: %w", err)
	}
	return events, nil
}

// TimelineAfter returns up to limit events of the room's timeline after the
// place and up to the ceiling (inclusive), oldest first.
func (db *DB) TimelineAfter(ctx context.Context, room int64, after, ceiling Place, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.room_nid = $1 AND (e.position, e.sub) > ($2, $3) AND (e.position, e.sub) <= ($4, $5)
			AND e.position IS NOT NULL AND e.flags & 6 = 0
		ORDER BY e.position, e.sub LIMIT $6`,
		room, after.Position, after.Sub, ceiling.Position, ceiling.Sub, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading the timeline forwards: %w", err)
	}
	return events, nil
}

// LatestEvents returns, for each room, up to limit of the newest events of its
// timeline at or before upTo, newest first within the room.
func (db *DB) LatestEvents(ctx context.Context, rooms []int64, upTo Position, limit int) (map[int64][]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM unnest($1::bigint[]) AS wanted (nid) JOIN rooms r ON r.nid = wanted.nid
		CROSS JOIN LATERAL (SELECT * FROM events
			WHERE room_nid = wanted.nid AND position <= $2 AND position IS NOT NULL AND flags & 6 = 0
			ORDER BY position DESC, sub DESC LIMIT $3) AS e`,
		nids(rooms), upTo, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading the newest events of %d rooms: %w", len(rooms), err)
	}
	byRoom := make(map[int64][]*Event, len(rooms))
	for _, e := range events {
		byRoom[e.RoomNID] = append(byRoom[e.RoomNID], e)
	}
	return byRoom, nil
}

// StateEventsBetween returns the state events of the room's timeline after one
// position and up to another, oldest first.
func (db *DB) StateEventsBetween(ctx context.Context, room int64, after, upTo Position) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.room_nid = $1 AND e.position > $2 AND e.position <= $3 AND e.state_key IS NOT NULL AND e.flags & 6 = 0
		ORDER BY e.position, e.sub`, room, after, upTo)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading state changes: %w", err)
	}
	return events, nil
}

// EventsAfter returns up to limit events of the rooms' timelines after one position and
// up to another, oldest first.
func (db *DB) EventsAfter(ctx context.Context, rooms []int64, after, upTo Position, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM unnest($1::bigint[]) AS wanted (nid) JOIN rooms r ON r.nid = wanted.nid AND r.latest_position > $2
		CROSS JOIN LATERAL (SELECT * FROM events
			WHERE room_nid = wanted.nid AND position > $2 AND position <= $3 AND sub = 0 AND flags & 6 = 0
			ORDER BY position LIMIT $4) AS e
		ORDER BY e.position LIMIT $4`, nids(rooms), after, upTo, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading what is new in %d rooms: %w", len(rooms), err)
	}
	return events, nil
}
