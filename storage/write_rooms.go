package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// writeRoomsSQL draws the batch's positions, moves the rooms that are still at
// the version the changes were built on, and inserts the events of those rooms
// only. Every other part refers to head, so that the stream's lock is the first
// one taken, whoever writes. A room with a repeated transaction id doesn't move.
// writeRoomsEnd ends the statement; writeRelationsSQL may stand between.
const writeRoomsSQL = `
WITH head AS (
    UPDATE stream_head SET position = position + $1 RETURNING position - $1 AS base
), e AS MATERIALIZED (
    SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::uuid[], $10::smallint[], $11::boolean[], $12::text[], $13::text[], $14::text[],
        $15::text[], $16::text[], $17::text[], $18::text[], $26::bigint[])
    AS e (nid, room_nid, place, snapshot_nid, replaces_nid, depth, origin_ts, txn_key, flags, notifies,
        event_id, type, state_key, sender, txn_device, txn_id, json, sticky_until)
), repeated AS MATERIALIZED (
    SELECT e.room_nid FROM e JOIN events x ON x.txn_key = e.txn_key
), moved AS (
    UPDATE rooms r SET version = u.version, depth = u.depth,
        latest_position = CASE WHEN u.last > 0 THEN head.base + u.last ELSE r.latest_position END,
        forward_extremities = u.extremities::text[], snapshot_nid = u.snapshot_nid
    FROM head, unnest($19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[], $24::text[], $25::bigint[])
        AS u (nid, expected, version, last, depth, extremities, snapshot_nid)
    WHERE r.nid = u.nid AND r.version = u.expected AND r.nid NOT IN (SELECT room_nid FROM repeated)
    RETURNING r.nid
), written AS (
    INSERT INTO events (nid, room_nid, position, snapshot_nid, replaces_nid, depth, origin_ts, txn_key, flags,
        notifies, event_id, type, state_key, sender, txn_device, txn_id, json, sticky_until)
    SELECT e.nid, e.room_nid, head.base + e.place, e.snapshot_nid, e.replaces_nid, e.depth, e.origin_ts, e.txn_key,
        e.flags, e.notifies, e.event_id, e.type, e.state_key, e.sender, e.txn_device, e.txn_id, e.json, e.sticky_until
    FROM head, e JOIN moved ON moved.nid = e.room_nid
)`

const writeRoomsEnd = `
SELECT base, (SELECT coalesce(array_agg(nid), '{}') FROM moved) FROM head`

// writeRooms writes room rows and events, and fails the tickets of rooms that
// have moved on.
func (w *batchWriter) writeRooms(ctx context.Context, p *plan) error {
	var nid, room, place, snapshot, replaces, depth, ts, flags, sticky intArray
	var key, notifies, id, typ, stateKey, sender, device, txn, json textArray
	for _, e := range p.events {
		nid.add(e.NID)
		room.add(e.RoomNID)
		place.addOrNull(p.offsets[e.NID])
		snapshot.addOrNull(e.SnapshotNID)
		replaces.addOrNull(e.ReplacesNID)
		depth.add(e.Depth)
		ts.add(e.OriginTS)
		flags.add(int64(e.Flags))
		if e.TxnID == "" {
			key.addNull()
		} else {
			key.add(uuid.UUID(e.TxnKey).String())
		}
		notifies.add(pgBool(e.Notifies))
		id.add(e.ID)
		typ.add(e.Type)
		if e.StateKey == nil {
			stateKey.addNull()
		} else {
			stateKey.add(*e.StateKey)
		}
		sender.add(e.Sender)
		device.addOrNull(e.TxnDevice)
		txn.addOrNull(e.TxnID)
		json.add(string(e.JSON))
		sticky.addOrNull(e.StickyUntil)
	}
	var rNID, rExpected, rVersion, rLast, rDepth, rSnapshot intArray
	var rExtremities textArray
	for _, r := range p.rooms {
		rNID.add(r.nid)
		rExpected.add(r.expected)
		rVersion.add(r.last.Version)
		rLast.add(r.lastPos)
		rDepth.add(r.last.Depth)
		rSnapshot.add(r.last.SnapshotNID)
		rExtremities.add(textLiteral(r.last.ForwardExtremities))
	}
	var base int64
	var moved pq.Int64Array
	query, args := writeRoomsSQL+writeRoomsEnd, []any{p.positions,
		&nid, &room, &place, &snapshot, &replaces, &depth, &ts, &key, &flags, &notifies,
		&id, &typ, &stateKey, &sender, &device, &txn, &json,
		&rNID, &rExpected, &rVersion, &rLast, &rDepth, &rExtremities, &rSnapshot, &sticky}
	if relations := p.relations(); !relations.empty() {
		query, args = writeRoomsSQL+writeRelationsSQL+writeRoomsEnd, append(args, relations.args()...)
	}
	if err := w.queryRow(ctx, query, args, &base, &moved); err != nil {
		return fmt.Errorf("writing %d events: %w", len(p.events), err)
	}
	p.setBase(base)
	w.position = base + p.positions
	if len(moved) == len(p.rooms) {
		return nil
	}
	set := map[int64]bool{}
	for _, n := range moved {
		set[n] = true
	}
	return w.failOvertaken(ctx, p, set)
}

// failOvertaken fails the changes of the rooms that didn't move: those with a
// repeated transaction id learn what it made, the others that they were
// overtaken and can be built again.
func (w *batchWriter) failOvertaken(ctx context.Context, p *plan, moved map[int64]bool) error {
	var keys textArray
	for _, r := range p.rooms {
		r.failed = !moved[r.nid]
		for _, t := range r.tickets {
			if !r.failed {
				continue
			}
			t.err = ErrOvertaken
			for _, e := range t.change.Room.Events {
				if e.TxnID != "" {
					keys.add(uuid.UUID(e.TxnKey).String())
				}
			}
		}
	}
	rows, err := w.conn.QueryContext(ctx, `SELECT txn_key, event_id FROM events WHERE txn_key = ANY($1::uuid[])`, &keys)
	type used struct {
		key uuid.UUID
		id  string
	}
	list, err := collect(rows, err, func(r *sql.Rows) (u used, err error) { return u, r.Scan(&u.key, &u.id) })
	if err != nil {
		return fmt.Errorf("looking up repeated transactions: %w", err)
	}
	for _, u := range list {
		p.failRepeated(u.key, u.id)
	}
	return nil
}

func (p *plan) failRepeated(key [16]byte, eventID string) {
	for _, r := range p.rooms {
		for _, t := range r.tickets {
			for _, e := range t.change.Room.Events {
				if r.failed && e.TxnID != "" && e.TxnKey == key {
					t.err = &DuplicateTxnError{EventID: eventID}
				}
			}
		}
	}
}

// createRooms inserts the rows of new rooms at version 0, from where writeRooms
// moves them. A room that exists already stays as it is, and then doesn't move.
func (w *batchWriter) createRooms(ctx context.Context, p *plan) error {
	var nid intArray
	var id, version textArray
	n := 0
	for _, r := range p.rooms {
		if r.create {
			n++
			nid.add(r.nid)
			id.add(r.last.ID)
			version.add(r.last.RoomVersion)
		}
	}
	if n == 0 {
		return nil
	}
	return w.exec(ctx, "creating rooms", `
		INSERT INTO rooms (nid, room_id, room_version, version, depth, forward_extremities, snapshot_nid)
		SELECT nid, room_id, room_version, 0, 0, '{}', 0
		FROM unnest($1::bigint[], $2::text[], $3::text[]) AS r (nid, room_id, room_version)
		ON CONFLICT (room_id) DO NOTHING`, &nid, &id, &version)
}

func pgBool(b bool) string {
	if b {
		return "t"
	}
	return "f"
}

// textLiteral is the array literal of list, for use within another array.
func textLiteral(list []string) string {
	var a textArray
	for _, s := range list {
		a.add(s)
	}
	v, _ := closeArray(a.buf)
	return v.(string)
}
