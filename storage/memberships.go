package storage

import (
	"context"
	"database/sql"
	"fmt"
)

const membershipColumns = ` m.room_nid, r.room_id, m.user_id, m.sender, m.membership, m.event_nid, m.position, m.forgotten `

func scanMembership(r *sql.Rows) (m Membership, err error) {
	err = r.Scan(&m.RoomNID, &m.RoomID, &m.UserID, &m.Sender, &m.Membership, &m.EventNID, &m.Position, &m.Forgotten)
	m.Membership = internMembership(m.Membership)
	return m, err
}

// UserMemberships returns the user's latest membership of every room, rooms that
// were left or forgotten among them.
func (db *DB) UserMemberships(ctx context.Context, userID string) ([]Membership, error) {
	rows, err := db.query(ctx, `SELECT`+membershipColumns+`
		FROM memberships m JOIN rooms r ON r.nid = m.room_nid WHERE m.user_id = $1`, userID)
	list, err := collect(rows, err, scanMembership)
	if err != nil {
		return nil, fmt.Errorf("reading the rooms of a user: %w", err)
	}
	return list, nil
}

// Forget marks a room that the user has left as forgotten. It returns
// ErrNotFound if the user is still in the room or never was.
func (db *DB) Forget(ctx context.Context, room int64, userID string) error {
	n, err := db.exec(ctx, `UPDATE memberships SET forgotten = true
		WHERE room_nid = $1 AND user_id = $2 AND membership IN ('leave', 'ban')`, room, userID)
	if err != nil {
		return fmt.Errorf("forgetting a room: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return db.Stream.Append(ctx, &Change{Forgets: []Forget{{RoomNID: room, UserID: userID}}})
}

// HasForgotten reports whether the user has forgotten the room.
func (db *DB) HasForgotten(ctx context.Context, room int64, userID string) (bool, error) {
	var forgotten bool
	err := db.scanRow(ctx, `SELECT coalesce((SELECT forgotten FROM memberships WHERE room_nid = $1 AND user_id = $2), false)`,
		[]any{room, userID}, &forgotten)
	if err != nil {
		return false, fmt.Errorf("reading a membership: %w", err)
	}
	return forgotten, nil
}

// MutualRooms returns up to limit of the rooms that both users have joined, those whose
// id comes after one, and how many there are in all.
func (db *DB) MutualRooms(ctx context.Context, one, two, after string, limit int) (rooms []string, count int, err error) {
	rows, err := db.query(ctx, `
		WITH shared AS (
			SELECT r.room_id FROM memberships a JOIN memberships b ON b.room_nid = a.room_nid AND b.user_id = $2
				JOIN rooms r ON r.nid = a.room_nid
			WHERE a.user_id = $1 AND a.membership = 'join' AND b.membership = 'join'
		) SELECT room_id, (SELECT count(*) FROM shared) FROM shared WHERE room_id > $3 ORDER BY room_id LIMIT $4`, one, two, after, limit)
	rooms, err = collect(rows, err, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id, &count) })
	if err != nil {
		return nil, 0, fmt.Errorf("reading shared rooms: %w", err)
	}
	return rooms, count, nil
}
