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
	return receiptsByRoom(rows, err)
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

// AccountDataSince returns what the user's account data became after a position.
func (db *DB) AccountDataSince(ctx context.Context, userID string, after Position) ([]AccountData, error) {
	rows, err := db.query(ctx, `SELECT position, user_id, room_id, type, content FROM account_data
		WHERE user_id = $1 AND position > $2 ORDER BY position`, userID, after)
	list, err := collect(rows, err, scanAccountData)
	if err != nil {
		return nil, fmt.Errorf("reading account data: %w", err)
	}
	return list, nil
}

func scanAccountData(r *sql.Rows) (d AccountData, err error) {
	return d, r.Scan(&d.Position, &d.UserID, &d.RoomID, &d.Type, &d.Content)
}

// GetAccountData returns one piece of account data, or ErrNotFound.
func (db *DB) GetAccountData(ctx context.Context, userID, roomID, dataType string) ([]byte, error) {
	var content []byte
	err := db.scanRow(ctx, `SELECT content FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3`,
		[]any{userID, roomID, dataType}, &content)
	return content, notFound("reading account data", err)
}

// SettingsOfGoneDevices returns the account data with which devices' own notifications were silenced,
// of devices that aren't there any more.
func (db *DB) SettingsOfGoneDevices(ctx context.Context, userID string) ([]AccountData, error) {
	rows, err := db.query(ctx, `
		SELECT d.position, d.user_id, d.room_id, d.type, d.content FROM account_data d
		CROSS JOIN unnest(ARRAY['m.local_notification_settings.', 'org.matrix.msc3890.local_notification_settings.']) AS prefix
		WHERE d.user_id = $1 AND d.room_id = '' AND starts_with(d.type, prefix) AND d.content <> '{}'
			AND NOT EXISTS (SELECT FROM devices v WHERE v.user_id = $1 AND v.device_id = substr(d.type, length(prefix) + 1))`, userID)
	list, err := collect(rows, err, scanAccountData)
	if err != nil {
		return nil, fmt.Errorf("reading the settings of devices that are gone: %w", err)
	}
	return list, nil
}

// OtherAccountData returns how many pieces of account data the user has beside this one, and how many bytes.
func (db *DB) OtherAccountData(ctx context.Context, d AccountData) (n, bytes int64, err error) {
	if err := db.scanRow(ctx, `
		SELECT count(*), coalesce(sum(octet_length(content)), 0)::bigint FROM account_data WHERE user_id = $1 AND NOT (room_id = $2 AND type = $3)`,
		[]any{d.UserID, d.RoomID, d.Type}, &n, &bytes); err != nil {
		return 0, 0, fmt.Errorf("counting account data: %w", err)
	}
	return n, bytes, nil
}

// maxPresence bounds the presence that is read at once.
const maxPresence = 50_000

// RecentPresence returns the newest presence of those who were active last.
func (db *DB) RecentPresence(ctx context.Context) ([]Presence, error) {
	rows, err := db.query(ctx, `SELECT user_id, position, last_active_ts, state, status_msg FROM presence
		ORDER BY position DESC LIMIT $1`, maxPresence)
	list, err := collect(rows, err, scanPresence)
	if err != nil {
		return nil, fmt.Errorf("reading presence: %w", err)
	}
	return list, nil
}

// PresenceAround returns the newest presence of up to limit users who are in a room with
// the user.
func (db *DB) PresenceAround(ctx context.Context, userID string, limit int) ([]Presence, error) {
	rows, err := db.query(ctx, `SELECT user_id, position, last_active_ts, state, status_msg FROM presence p
		WHERE EXISTS (SELECT FROM memberships m JOIN memberships mine ON mine.room_nid = m.room_nid AND mine.user_id = $1
			WHERE m.user_id = p.user_id AND m.membership = 'join' AND mine.membership = 'join')
		ORDER BY position DESC LIMIT $2`, userID, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (p Presence, err error) {
		return p, r.Scan(&p.UserID, &p.Position, &p.LastActiveTS, &p.State, &p.StatusMsg)
	})
	if err != nil {
		return nil, fmt.Errorf("reading presence: %w", err)
	}
	return list, nil
}
