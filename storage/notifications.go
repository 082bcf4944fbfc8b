package storage

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/lib/pq"
)

// Span is a part of the stream: what is after After, up to UpTo.
type Span struct{ After, UpTo Position }

// UnsentEvents returns up to limit events of a span that a user is to be notified of
// and hasn't read, in the stream's order: what counts as unread in rooms they have
// joined. With rooms not nil only those are looked at. Senders in ignored are left out.
func (db *DB) UnsentEvents(ctx context.Context, userID string, rooms []int64, ignored []string, s Span, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM memberships w JOIN rooms r ON r.nid = w.room_nid
		CROSS JOIN LATERAL (
			SELECT max(event_position) AS position FROM receipts WHERE room_nid = w.room_nid AND user_id = $1
				AND receipt_type IN ('m.read', 'm.read.private') AND thread_id = ''
		) AS read
		CROSS JOIN LATERAL (
			SELECT min(position) AS position FROM events WHERE room_nid = w.room_nid AND type = 'm.room.member'
				AND state_key = $1 AND position IS NOT NULL
		) AS came
		CROSS JOIN LATERAL (
			SELECT l.* FROM events l
			LEFT JOIN push_exceptions x ON x.room_nid = w.room_nid AND x.user_id = $1 AND x.position = l.position
			WHERE l.room_nid = w.room_nid AND l.position > greatest($4::bigint, read.position, came.position) AND l.position <= $5
				AND l.position IS NOT NULL AND l.sub = 0 AND l.flags & 7 = 0 AND l.redacted_by IS NULL
				AND l.sender <> $1 AND l.sender <> ALL($6)
				AND coalesce(x.notifies, l.notifies OR EXISTS (SELECT FROM highlights h
					WHERE h.room_nid = w.room_nid AND h.user_id IN ($1, '') AND h.position = l.position))
			ORDER BY l.position LIMIT $7
		) AS e
		WHERE w.user_id = $1 AND w.membership = 'join' AND ($2 OR w.room_nid = ANY($3))
		ORDER BY e.position LIMIT $7`,
		userID, rooms == nil, nids(rooms), s.After, s.UpTo, append(pq.StringArray{}, ignored...), limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading what to notify %s of: %w", userID, err)
	}
	return events, nil
}

// UnsentInvites returns the open invitations of a user that came in a span, in the
// stream's order. An invitation without a place has that of the membership.
func (db *DB) UnsentInvites(ctx context.Context, userID string, ignored []string, s Span) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`, m.position
		FROM memberships m JOIN events e ON e.nid = m.event_nid JOIN rooms r ON r.nid = m.room_nid
		WHERE m.user_id = $1 AND m.membership = 'invite' AND m.position > $2 AND m.position <= $3 AND e.sender <> ALL($4)
		ORDER BY m.position`, userID, s.After, s.UpTo, append(pq.StringArray{}, ignored...))
	events, err := collect(rows, err, func(r *sql.Rows) (*Event, error) {
		var p Position
		e, err := scanEventAnd(r, &p)
		e.Position = p
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading what %s was invited to: %w", userID, err)
	}
	return events, nil
}

// Notification is an event that a user was notified of.
type Notification struct {
	Event     *Event
	Highlight bool
}

// Notifications returns up to limit of the events that a user was notified of in the
// rooms they have joined, newest first, at or before a position. next is where to go
// on, 0 at the end. A page may hold fewer, or none, and still have a next one.
func (db *DB) Notifications(ctx context.Context, userID string, ignored []string, upTo Position, onlyHighlights bool, limit int) (page []Notification, next Position, err error) {
	looked := max(2*limit, 50)
	rows, err := db.query(ctx, `SELECT`+eventColumns+`,
			e.flags & 7 = 0 AND e.redacted_by IS NULL AND e.sender <> $1 AND e.sender <> ALL($5) AND coalesce(x.notifies, e.notifies OR h.found),
			coalesce(x.highlights, h.found)
		FROM (
			SELECT m.room_nid, c.position FROM memberships m
			CROSS JOIN LATERAL (SELECT min(position) AS position FROM events
				WHERE room_nid = m.room_nid AND type = 'm.room.member' AND state_key = $1 AND position IS NOT NULL) AS j
			CROSS JOIN LATERAL (
				(SELECT position FROM events WHERE room_nid = m.room_nid AND position > j.position AND position <= $2
					AND position IS NOT NULL AND notifies AND NOT $3 ORDER BY position DESC LIMIT $4)
				UNION (SELECT position FROM highlights WHERE room_nid = m.room_nid AND user_id = $1
					AND position > j.position AND position <= $2 ORDER BY position DESC LIMIT $4)
				UNION (SELECT position FROM highlights WHERE room_nid = m.room_nid AND user_id = ''
					AND position > j.position AND position <= $2 ORDER BY position DESC LIMIT $4)
				UNION (SELECT position FROM push_exceptions WHERE room_nid = m.room_nid AND user_id = $1 AND notifies
					AND position > j.position AND position <= $2 AND (highlights OR NOT $3) ORDER BY position DESC LIMIT $4)
			) AS c
			WHERE m.user_id = $1 AND m.membership = 'join'
			ORDER BY c.position DESC LIMIT $4
		) AS c
		JOIN events e ON e.room_nid = c.room_nid AND e.position = c.position AND e.sub = 0
		JOIN rooms r ON r.nid = c.room_nid
		LEFT JOIN push_exceptions x ON x.room_nid = c.room_nid AND x.user_id = $1 AND x.position = c.position
		CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM highlights
			WHERE room_nid = c.room_nid AND user_id IN ($1, '') AND position = c.position) AS found) AS h
		ORDER BY e.position DESC`,
		userID, upTo, onlyHighlights, looked, append(pq.StringArray{}, ignored...))
	type row struct {
		Notification
		counts bool
	}
	list, err := collect(rows, err, func(r *sql.Rows) (n row, err error) {
		n.Event, err = scanEventAnd(r, &n.counts, &n.Highlight)
		return n, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading what %s was notified of: %w", userID, err)
	}
	for i, n := range list {
		if n.counts && (n.Highlight || !onlyHighlights) {
			page = append(page, n.Notification)
		}
		if len(page) == limit && i < len(list)-1 || i == looked-1 {
			return page, n.Event.Position - 1, nil
		}
	}
	return slices.Clip(page), 0, nil
}

// ReadPositions returns how far a user has read in rooms by their receipts, by room
// and thread, "" being everything.
func (db *DB) ReadPositions(ctx context.Context, userID string, rooms []int64) (map[int64]map[string]Position, error) {
	rows, err := db.query(ctx, `SELECT room_nid, thread_id, max(event_position) FROM receipts
		WHERE room_nid = ANY($1) AND user_id = $2 AND receipt_type IN ('m.read', 'm.read.private')
		GROUP BY room_nid, thread_id`, nids(rooms), userID)
	read := map[int64]map[string]Position{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var nid int64
		var thread string
		var p Position
		err := r.Scan(&nid, &thread, &p)
		if read[nid] == nil {
			read[nid] = map[string]Position{}
		}
		read[nid][thread] = p
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading how far %s has read: %w", userID, err)
	}
	return read, nil
}
