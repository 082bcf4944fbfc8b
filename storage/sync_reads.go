package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// RoomReceipts returns the receipts of the rooms that were written after a
// position, in the order of their positions.
func (db *DB) RoomReceipts(ctx context.Context, rooms []int64, after Position) (map[int64][]Receipt, error) {
	rows, err := db.query(ctx, `
		SELECT room_nid, position, ts, event_position, user_id, receipt_type, thread_id, event_id
		FROM receipts WHERE room_nid = ANY($1) AND position > $2 ORDER BY position`, nids(rooms), after)
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

func scanReceipt(r *sql.Rows) (x Receipt, err error) {
	return x, r.Scan(&x.RoomNID, &x.Position, &x.TS, &x.EventPosition, &x.UserID, &x.Type, &x.ThreadID, &x.EventID)
}

// UserReceipt returns a user's receipt of one kind, or ErrNotFound.
func (db *DB) UserReceipt(ctx context.Context, room int64, userID, receiptType, threadID string) (*Receipt, error) {
	r := Receipt{RoomNID: room, UserID: userID, Type: receiptType, ThreadID: threadID}
	err := db.scanRow(ctx, `SELECT position, ts, event_position, event_id FROM receipts
		WHERE room_nid = $1 AND user_id = $2 AND receipt_type = $3 AND thread_id = $4`,
		[]any{room, userID, receiptType, threadID}, &r.Position, &r.TS, &r.EventPosition, &r.EventID)
	return &r, notFound("reading a receipt", err)
}

// Unread is how many events of a room a user hasn't read.
type Unread struct{ Notifications, Highlights int }

// maxUnread bounds the events that are looked at per room to count unread ones.
const maxUnread = 1000

// CountUnread counts, for each room, what the user hasn't read up to a position:
// events after the newest of their receipts (of any thread's main timeline), of
// their own events, and of the place where their membership began.
func (db *DB) CountUnread(ctx context.Context, rooms []int64, userID string, upTo Position) (map[int64]Unread, error) {
	rows, err := db.query(ctx, `
		SELECT w.nid, coalesce(n.unread, 0), coalesce(h.highlights, 0)
		FROM unnest($1::bigint[]) AS w (nid)
		CROSS JOIN LATERAL (
			SELECT greatest(
				(SELECT max(event_position) FROM receipts WHERE room_nid = w.nid AND user_id = $2
					AND receipt_type IN ('m.read', 'm.read.private') AND thread_id IN ('', 'main')),
				(SELECT min(position) FROM events WHERE room_nid = w.nid AND type = 'm.room.member' AND state_key = $2
					AND position IS NOT NULL), 0) AS position
		) AS r
		CROSS JOIN LATERAL (
			SELECT greatest(r.position, max(position) FILTER (WHERE sender = $2)) AS position FROM (
				SELECT position, sender FROM events WHERE room_nid = w.nid AND position > r.position AND position <= $3
				ORDER BY position DESC LIMIT $4) AS recent
		) AS own
		CROSS JOIN LATERAL (
			SELECT count(*) AS unread FROM (
				SELECT FROM events WHERE room_nid = w.nid AND position > own.position AND position <= $3 AND notifies
				LIMIT $4) AS unread
		) AS n
		CROSS JOIN LATERAL (
			SELECT count(*) AS highlights FROM (
				SELECT FROM highlights WHERE room_nid = w.nid AND user_id IN ($2, '') AND position > own.position AND position <= $3
				LIMIT $4) AS mentions
		) AS h`, nids(rooms), userID, upTo, maxUnread)
	counts := map[int64]Unread{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var nid int64
		var u Unread
		err := r.Scan(&nid, &u.Notifications, &u.Highlights)
		counts[nid] = u
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("counting unread events: %w", err)
	}
	return counts, nil
}

// AccountDataSince returns what the user's account data became after a position.
func (db *DB) AccountDataSince(ctx context.Context, userID string, after Position) ([]AccountData, error) {
	rows, err := db.query(ctx, `SELECT position, user_id, room_id, type, content FROM account_data
		WHERE user_id = $1 AND position > $2 ORDER BY position`, userID, after)
	list, err := collect(rows, err, func(r *sql.Rows) (d AccountData, err error) {
		return d, r.Scan(&d.Position, &d.UserID, &d.RoomID, &d.Type, &d.Content)
	})
	if err != nil {
		return nil, fmt.Errorf("reading account data: %w", err)
	}
	return list, nil
}

// GetAccountData returns one piece of account data, or ErrNotFound.
func (db *DB) GetAccountData(ctx context.Context, userID, roomID, dataType string) ([]byte, error) {
	var content []byte
	err := db.scanRow(ctx, `SELECT content FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3`,
		[]any{userID, roomID, dataType}, &content)
	return content, notFound("reading account data", err)
}

// CountAccountData returns how many pieces of account data the user has.
func (db *DB) CountAccountData(ctx context.Context, userID string) (n int, err error) {
	if err := db.scanRow(ctx, `SELECT count(*) FROM account_data WHERE user_id = $1`, []any{userID}, &n); err != nil {
		return 0, fmt.Errorf("counting account data: %w", err)
	}
	return n, nil
}

// maxPresence bounds the presence that is read at once.
const maxPresence = 50_000

// RecentPresence returns the newest presence of those who were active last.
func (db *DB) RecentPresence(ctx context.Context) ([]Presence, error) {
	rows, err := db.query(ctx, `SELECT user_id, position, last_active_ts, state, status_msg FROM presence
		ORDER BY position DESC LIMIT $1`, maxPresence)
	list, err := collect(rows, err, func(r *sql.Rows) (p Presence, err error) {
		return p, r.Scan(&p.UserID, &p.Position, &p.LastActiveTS, &p.State, &p.StatusMsg)
	})
	if err != nil {
		return nil, fmt.Errorf("reading presence: %w", err)
	}
	return list, nil
}
