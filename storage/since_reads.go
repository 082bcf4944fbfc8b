package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// since is places in the stream by room, as the arrays of a query.
type since map[int64]Position

func (s since) arrays() (rooms, after *intArray) {
	rooms, after = &intArray{}, &intArray{}
	for room, p := range s {
		rooms.add(room)
		after.add(p)
	}
	return rooms, after
}

// StateChangedSince returns what pieces of the rooms' current state have changed, in each
// room since a position of its own. Pieces that were removed are not among them.
func (db *DB) StateChangedSince(ctx context.Context, after map[int64]Position) (map[int64][]StateTuple, error) {
	nids, positions := since(after).arrays()
	rows, err := db.query(ctx, `
		SELECT c.room_nid, c.type, c.state_key FROM unnest($1::bigint[], $2::bigint[]) AS w (nid, after)
		JOIN current_state c ON c.room_nid = w.nid AND c.position > w.after`, nids, positions)
	changed := map[int64][]StateTuple{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var room int64
		var t StateTuple
		err := r.Scan(&room, &t.Type, &t.StateKey)
		changed[room] = append(changed[room], t)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading what state has changed: %w", err)
	}
	return changed, nil
}

// EncryptedMembersSince returns what became of the members of those of the rooms that are
// encrypted, in each since a position of its own.
func (db *DB) EncryptedMembersSince(ctx context.Context, after map[int64]Position) (map[string]string, error) {
	nids, positions := since(after).arrays()
	rows, err := db.query(ctx, `
		SELECT c.state_key, coalesce(c.membership, '') FROM unnest($1::bigint[], $2::bigint[]) AS w (nid, after)
		JOIN room_summaries s ON s.room_nid = w.nid AND s.encryption <> ''
		JOIN current_state c ON c.room_nid = w.nid AND c.position > w.after AND c.type = 'm.room.member'
		ORDER BY c.position`, nids, positions)
	members := map[string]string{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var id, membership string
		err := r.Scan(&id, &membership)
		members[id] = internMembership(membership)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading who came and went: %w", err)
	}
	return members, nil
}

// ReceiptsSince is RoomReceipts, in each room since a position of its own.
func (db *DB) ReceiptsSince(ctx context.Context, after map[int64]Position) (map[int64][]Receipt, error) {
	nids, positions := since(after).arrays()
	rows, err := db.query(ctx, `
		SELECT r.room_nid, r.position, r.ts, r.event_position, r.user_id, r.receipt_type, r.thread_id, r.event_id
		FROM unnest($1::bigint[], $2::bigint[]) AS w (nid, after)
		JOIN receipts r ON r.room_nid = w.nid AND r.position > w.after ORDER BY r.position`, nids, positions)
	return receiptsByRoom(rows, err)
}

// ReceiptsFor returns the receipts of one user in the rooms, and those of everybody for some
// of the events there.
func (db *DB) ReceiptsFor(ctx context.Context, rooms []int64, userID string, events []string) (map[int64][]Receipt, error) {
	rows, err := db.query(ctx, `
		SELECT room_nid, position, ts, event_position, user_id, receipt_type, thread_id, event_id
		FROM receipts WHERE room_nid = ANY($1) AND (user_id = $2 OR event_id = ANY($3)) ORDER BY position`,
		nids(rooms), userID, pq.StringArray(events))
	return receiptsByRoom(rows, err)
}

func receiptsByRoom(rows *sql.Rows, err error) (map[int64][]Receipt, error) {
	list, err := collect(rows, err, scanReceipt)
	if err != nil {
		return nil, fmt.Errorf("reading receipts: %w", err)
	}
	byRoom := map[int64][]Receipt{}
	for _, r := range list {
		byRoom[r.RoomNID] = append(byRoom[r.RoomNID], r)
	}
	return byRoom, nil
}

// RoomDataSince returns what the user's account data of the rooms became, in each room
// after a position of its own.
func (db *DB) RoomDataSince(ctx context.Context, userID string, after map[string]Position) ([]AccountData, error) {
	var ids textArray
	var positions intArray
	for id, p := range after {
		ids.add(id)
		positions.add(p)
	}
	rows, err := db.query(ctx, `
		SELECT d.position, d.user_id, d.room_id, d.type, d.content FROM unnest($2::text[], $3::bigint[]) AS w (room_id, after)
		JOIN account_data d ON d.user_id = $1 AND d.room_id = w.room_id AND d.position > w.after ORDER BY d.position`,
		userID, &ids, &positions)
	list, err := collect(rows, err, scanAccountData)
	if err != nil {
		return nil, fmt.Errorf("reading the account data of rooms: %w", err)
	}
	return list, nil
}

// WhoShares returns those of the others who share a room with the user.
func (db *DB) WhoShares(ctx context.Context, userID string, others []string) ([]string, error) {
	rows, err := db.query(ctx, `
		SELECT id FROM unnest($2::text[]) AS other (id) WHERE EXISTS (
			SELECT FROM memberships o JOIN memberships m ON m.room_nid = o.room_nid AND m.user_id = $1 AND m.membership = 'join'
			WHERE o.user_id = other.id AND o.membership = 'join')`, userID, pq.StringArray(others))
	list, err := collect(rows, err, func(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) })
	if err != nil {
		return nil, fmt.Errorf("reading who shares rooms: %w", err)
	}
	return list, nil
}
