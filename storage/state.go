package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// CurrentState returns the room's current state.
func (db *DB) CurrentState(ctx context.Context, room int64) (StateMap, error) {
	rows, err := db.query(ctx, `
		SELECT type, state_key, event_nid, event_id, coalesce(membership, '')
		FROM current_state WHERE room_nid = $1`, room)
	b := NewStateMapBuilder()
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var t StateTuple
		var e StateEntry
		err := r.Scan(&t.Type, &t.StateKey, &e.EventNID, &e.EventID, &e.Membership)
		e.Membership = internMembership(e.Membership)
		b.Set(t, e)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading current state: %w", err)
	}
	return b.Map(), nil
}

// internMembership returns the constant for a membership, so that a big room's
// state doesn't hold thousands of copies.
func internMembership(m string) string {
	switch m {
	case "join":
		return "join"
	case "leave":
		return "leave"
	case "invite":
		return "invite"
	case "ban":
		return "ban"
	case "knock":
		return "knock"
	}
	return m
}

// SnapshotChain returns the snapshot and its ancestors, the oldest first.
func (db *DB) SnapshotChain(ctx context.Context, nid int64) ([]Snapshot, error) {
	rows, err := db.query(ctx, `
		WITH RECURSIVE chain AS (
			SELECT nid, parent_nid, depth, event_nids FROM state_snapshots WHERE nid = $1
			UNION ALL
			SELECT s.nid, s.parent_nid, s.depth, s.event_nids FROM state_snapshots s JOIN chain c ON s.nid = c.parent_nid
		) SELECT nid, coalesce(parent_nid, 0), depth, event_nids FROM chain ORDER BY depth`, nid)
	chain, err := collect(rows, err, func(r *sql.Rows) (s Snapshot, err error) {
		return s, r.Scan(&s.NID, &s.ParentNID, &s.Depth, (*pq.Int64Array)(&s.EventNIDs))
	})
	if err != nil {
		return nil, fmt.Errorf("reading state snapshot %d: %w", nid, err)
	}
	return chain, nil
}

// StateAt returns the room's state at a snapshot; 0 is the empty state.
func (db *DB) StateAt(ctx context.Context, snapshot int64) (StateMap, error) {
	b := NewStateMapBuilder()
	if snapshot == 0 {
		return b.Map(), nil
	}
	chain, err := db.SnapshotChain(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	var all []int64
	for _, s := range chain {
		all = append(all, s.EventNIDs...)
	}
	rows, err := db.query(ctx, `
		SELECT nid, type, state_key, event_id,
			CASE WHEN type = 'm.room.member' THEN coalesce(event_json(json)->'content'->>'membership', '') ELSE '' END
		FROM events WHERE nid = ANY($1) AND state_key IS NOT NULL`, nids(all))
	type row struct {
		StateTuple
		StateEntry
	}
	byNID := make(map[int64]row, len(all))
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var v row
		var err error
		v.StateTuple, v.StateEntry, err = scanState(r)
		byNID[v.EventNID] = v
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading state at snapshot %d: %w", snapshot, err)
	}
	for _, nid := range all { // the chain is oldest first, so later entries win
		v := byNID[nid]
		b.Set(v.StateTuple, v.StateEntry)
	}
	return b.Map(), nil
}

// StateOf returns the state that consists of the events of a room. Rejected ones are left
// out, unless that was decided without knowing all of the room's members.
func (db *DB) StateOf(ctx context.Context, room int64, ids []string) (StateMap, error) {
	rows, err := db.query(ctx, `
		SELECT nid, type, state_key, event_id,
			CASE WHEN type = 'm.room.member' THEN coalesce(event_json(json)->'content'->>'membership', '') ELSE '' END
		FROM events WHERE event_id = ANY($1) AND room_nid = $2 AND state_key IS NOT NULL AND (flags & 2 = 0 OR flags & 32 <> 0)`,
		pq.StringArray(ids), room)
	b := NewStateMapBuilder()
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		t, e, err := scanState(r)
		b.Set(t, e)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the state that events make: %w", err)
	}
	return b.Map(), nil
}

func scanState(r *sql.Rows) (t StateTuple, e StateEntry, err error) {
	err = r.Scan(&e.EventNID, &t.Type, &t.StateKey, &e.EventID, &e.Membership)
	e.Membership = internMembership(e.Membership)
	return t, e, err
}

// MemberEvents returns member events of a room by number, with no more than whose they are
// and who sent them.
func (db *DB) MemberEvents(ctx context.Context, room int64, list []int64) (map[int64]*Event, error) {
	rows, err := db.query(ctx, `SELECT nid, state_key, sender FROM events WHERE nid = ANY($1) AND state_key IS NOT NULL`, nids(list))
	found := make(map[int64]*Event, len(list))
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		e := &Event{RoomNID: room, Type: "m.room.member"}
		err := r.Scan(&e.NID, &e.StateKey, &e.Sender)
		found[e.NID] = e
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading who is a member: %w", err)
	}
	return found, nil
}

// StateOfType returns the numbers of up to limit events of the type in the room's
// current state.
func (db *DB) StateOfType(ctx context.Context, room int64, eventType string, limit int) ([]int64, error) {
	rows, err := db.query(ctx, `SELECT event_nid FROM current_state WHERE room_nid = $1 AND type = $2 ORDER BY state_key LIMIT $3`,
		room, eventType, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (nid int64, err error) { return nid, r.Scan(&nid) })
	if err != nil {
		return nil, fmt.Errorf("reading the %s of a room: %w", eventType, err)
	}
	return list, nil
}

// MembersAt returns the member events that the users had at a place in the room's
// timeline.
func (db *DB) MembersAt(ctx context.Context, room int64, users []string, at Place) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM unnest($2::text[]) AS u (id) CROSS JOIN LATERAL (SELECT * FROM events
			WHERE room_nid = $1 AND type = 'm.room.member' AND state_key = u.id AND flags & 6 = 0
				AND (position IS NULL OR (position, sub) <= ($3, $4))
			ORDER BY position DESC NULLS LAST, sub DESC LIMIT 1) AS e
		JOIN rooms r ON r.nid = e.room_nid`, room, pq.StringArray(users), at.Position, at.Sub)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading who members were: %w", err)
	}
	return events, nil
}
