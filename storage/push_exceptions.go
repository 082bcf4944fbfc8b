package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

func (w *batchWriter) writeExceptions(ctx context.Context, changes []*RoomChange) error {
	var room, position intArray
	var notifies, highlights, user textArray
	for _, c := range changes {
		for _, x := range c.Exceptions {
			room.add(c.Room.NID)
			position.add(c.Events[x.Event].Position)
			notifies.add(pgBool(x.Notifies))
			highlights.add(pgBool(x.Highlights))
			user.add(x.UserID)
		}
	}
	if len(room.buf) == 0 {
		return nil
	}
	return w.exec(ctx, "writing for whom events count otherwise", `
		INSERT INTO push_exceptions (room_nid, position, notifies, highlights, user_id)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::boolean[], $5::text[]) ON CONFLICT DO NOTHING`,
		&room, &position, &notifies, &highlights, &user)
}

// ChangedPushRules returns the m.push_rules account data of everybody who has any.
func (db *DB) ChangedPushRules(ctx context.Context) (map[string][]byte, error) {
	rows, err := db.query(ctx, `SELECT user_id, content FROM account_data WHERE type = 'm.push_rules' AND room_id = ''`)
	rules := map[string][]byte{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var userID string
		var content []byte
		err := r.Scan(&userID, &content)
		rules[userID] = content
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading everybody's push rules: %w", err)
	}
	return rules, nil
}

// JoinedRooms returns the memberships of the users in the rooms that they have joined.
// Of each, only RoomNID, UserID, Membership and Position are filled in.
func (db *DB) JoinedRooms(ctx context.Context, users []string) ([]Membership, error) {
	rows, err := db.query(ctx, `SELECT room_nid, user_id, membership, position FROM memberships
		WHERE user_id = ANY($1) AND membership = 'join'`, pq.StringArray(users))
	list, err := collect(rows, err, func(r *sql.Rows) (m Membership, err error) {
		err = r.Scan(&m.RoomNID, &m.UserID, &m.Membership, &m.Position)
		m.Membership = internMembership(m.Membership)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the rooms of %d users: %w", len(users), err)
	}
	return list, nil
}
