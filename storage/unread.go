package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// Unread is how many events a user hasn't read.
type Unread struct{ Notifications, Highlights int }

// Plus is what both counts are together.
func (u Unread) Plus(n Unread) Unread {
	return Unread{Notifications: u.Notifications + n.Notifications, Highlights: u.Highlights + n.Highlights}
}

// maxUnread bounds the events that are looked at per room to count unread ones.
const maxUnread = 1000

// CountUnread counts, for each room and each of its threads ("" is the main
// timeline), what the user hasn't read up to a position: the events of others
// after the newest of their receipts, of their own events in the thread, and of
// the place where their membership began. A new name or picture of theirs, which goes to every
// room, isn't taken for reading any. What relates to an event of a thread is in the thread.
// Threads without any are left out, and so are the senders in ignored.
func (db *DB) CountUnread(ctx context.Context, rooms []int64, userID string, ignored []string, upTo Position) (map[int64]map[string]Unread, error) {
	rows, err := db.query(ctx, `
		SELECT w.nid, e.thread, count(*) FILTER (WHERE e.notifies), count(*) FILTER (WHERE e.highlight)
		FROM unnest($1::bigint[]) AS w (nid)
		CROSS JOIN LATERAL (
			SELECT greatest(0,
				(SELECT max(event_position) FROM receipts WHERE room_nid = w.nid AND user_id = $2
					AND receipt_type IN ('m.read', 'm.read.private') AND thread_id = ''),
				(SELECT min(position) FROM events WHERE room_nid = w.nid AND type = 'm.room.member' AND state_key = $2
					AND position IS NOT NULL)) AS position
		) AS r
		CROSS JOIN LATERAL ( -- most rooms have neither, and are spared a look per event
			SELECT EXISTS (SELECT FROM push_exceptions WHERE room_nid = w.nid AND user_id = $2 AND position > r.position) AS exceptions,
				EXISTS (SELECT FROM highlights WHERE room_nid = w.nid AND user_id IN ($2, '') AND position > r.position) AS highlights
			OFFSET 0
		) AS any_of
		CROSS JOIN LATERAL (
			SELECT recent.*, max(position) FILTER (WHERE reads) OVER (PARTITION BY thread) AS own FROM (
				SELECT l.position, sender,
					sender = $2 AND NOT (type = 'm.room.member' AND state_key = $2 AND EXISTS (SELECT FROM events AS before
						WHERE before.nid = l.replaces_nid AND event_json(before.json)#>>'{content,membership}' = 'join')) AS reads,
					redacted_by IS NULL AND coalesce(x.notifies, l.notifies OR h.found IS NOT NULL) AS notifies,
					redacted_by IS NULL AND coalesce(x.highlights, h.found IS NOT NULL) AS highlight,
					CASE WHEN json NOT LIKE '%"m.relates_to"%' THEN ''
						WHEN json LIKE '%"m.thread"%' AND event_json(json)#>>'{content,m.relates_to,rel_type}' = 'm.thread'
						THEN coalesce(event_json(json)#>>'{content,m.relates_to,event_id}', '')
						WHEN sender = $2 OR l.notifies OR x.notifies OR h.found THEN indirect_thread(l.nid)
						ELSE '' END AS thread
				FROM (SELECT nid, position, replaces_nid, type, state_key, sender, notifies, redacted_by, json FROM events
					WHERE room_nid = w.nid AND position > r.position AND position <= $3 AND flags & 6 = 0
					ORDER BY position DESC LIMIT $5) AS l
				LEFT JOIN LATERAL (SELECT notifies, highlights FROM push_exceptions
					WHERE any_of.exceptions AND room_nid = w.nid AND user_id = $2 AND position = l.position) AS x ON true
				LEFT JOIN LATERAL (SELECT true AS found FROM highlights
					WHERE any_of.highlights AND room_nid = w.nid AND user_id IN ($2, '') AND position = l.position LIMIT 1) AS h ON true
			) AS recent
		) AS e
		LEFT JOIN LATERAL (
			SELECT thread_id, max(event_position) AS position FROM receipts WHERE room_nid = w.nid AND user_id = $2
				AND receipt_type IN ('m.read', 'm.read.private') GROUP BY thread_id
		) AS t ON t.thread_id = CASE e.thread WHEN '' THEN 'main' ELSE e.thread END
		WHERE e.position > greatest(e.own, t.position, 0) AND e.sender <> ALL($4) AND (e.notifies OR e.highlight)
		GROUP BY w.nid, e.thread`, nids(rooms), userID, upTo, append(pq.StringArray{}, ignored...), maxUnread)
	counts := map[int64]map[string]Unread{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var nid int64
		var thread string
		var u Unread
		err := r.Scan(&nid, &thread, &u.Notifications, &u.Highlights)
		if counts[nid] == nil {
			counts[nid] = map[string]Unread{}
		}
		counts[nid][thread] = u
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("counting unread events: %w", err)
	}
	return counts, nil
}
