package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// RoomOutline is the little of a room that it takes to order and filter a list of
// rooms, without its state.
type RoomOutline struct {
	RoomNID int64
	// Latest is the position of the newest event.
	Latest Position
	// Known is whether the room's state is known; of a room that a user is invited to
	// it may not be.
	Known                      bool
	Name, RoomType, Encryption string
	// EncryptedAt is the position of the first event that turned encryption on.
	EncryptedAt Position
}

// RoomOutlines returns the outlines of the rooms, in one query.
func (db *DB) RoomOutlines(ctx context.Context, rooms []int64) ([]RoomOutline, error) {
	rows, err := db.query(ctx, `
		SELECT r.nid, r.latest_position, EXISTS (SELECT FROM current_state WHERE room_nid = r.nid AND type = 'm.room.create' AND state_key = ''),
			coalesce(s.name, ''), coalesce(s.room_type, ''), coalesce(s.encryption, ''),
			CASE WHEN s.encryption <> '' THEN coalesce((SELECT min(position) FROM events
				WHERE room_nid = r.nid AND type = 'm.room.encryption' AND state_key = '' AND flags & 6 = 0), 0) ELSE 0 END
		FROM rooms r LEFT JOIN room_summaries s ON s.room_nid = r.nid WHERE r.nid = ANY($1)`, nids(rooms))
	list, err := collect(rows, err, func(r *sql.Rows) (h RoomOutline, err error) {
		return h, r.Scan(&h.RoomNID, &h.Latest, &h.Known, &h.Name, &h.RoomType, &h.Encryption, &h.EncryptedAt)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the outlines of %d rooms: %w", len(rooms), err)
	}
	return list, nil
}

// InviteStatesOf returns the stripped state that came with a user's invitations from
// other servers, by room.
func (db *DB) InviteStatesOf(ctx context.Context, rooms []int64, userID string) (map[int64][]byte, error) {
	rows, err := db.query(ctx, `SELECT room_nid, stripped FROM invite_states WHERE room_nid = ANY($1) AND user_id = $2`, nids(rooms), userID)
	found := map[int64][]byte{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var room int64
		var stripped string
		err := r.Scan(&room, &stripped)
		found[room] = []byte(stripped)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the states of invitations: %w", err)
	}
	return found, nil
}

// maxLatestOf bounds the events of a room that are looked at for the newest of some types.
const maxLatestOf = 500

// LatestOf returns for each room the position of its newest event of the types, up to
// a position. If none of the last few hundred events is of them, it is where those begin.
func (db *DB) LatestOf(ctx context.Context, rooms []int64, types []string, upTo Position) (map[int64]Position, error) {
	rows, err := db.query(ctx, `
		SELECT w.nid, coalesce(max(e.position) FILTER (WHERE e.type = ANY($2)), min(e.position), 0)
		FROM unnest($1::bigint[]) AS w (nid)
		LEFT JOIN LATERAL (SELECT position, type FROM events
			WHERE room_nid = w.nid AND position <= $3 AND position IS NOT NULL AND flags & 6 = 0
			ORDER BY position DESC, sub DESC LIMIT $4) AS e ON true
		GROUP BY w.nid`, nids(rooms), pq.StringArray(types), upTo, maxLatestOf)
	found := make(map[int64]Position, len(rooms))
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var room int64
		var p Position
		err := r.Scan(&room, &p)
		found[room] = p
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading when %d rooms last moved: %w", len(rooms), err)
	}
	return found, nil
}

// SpaceChildren returns the ids of the rooms that the spaces have as their children.
//
// https://spec.matrix.org/v1.19/client-server-api/#mspacechild
func (db *DB) SpaceChildren(ctx context.Context, spaces []int64) (map[int64][]string, error) {
	rows, err := db.query(ctx, `
		SELECT c.room_nid, c.state_key FROM current_state c JOIN events e ON e.nid = c.event_nid
		WHERE c.room_nid = ANY($1) AND c.type = 'm.space.child' AND json_typeof(event_json(e.json)->'content'->'via') = 'array'`, nids(spaces))
	children := map[int64][]string{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var space int64
		var id string
		err := r.Scan(&space, &id)
		children[space] = append(children[space], id)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the children of spaces: %w", err)
	}
	return children, nil
}
