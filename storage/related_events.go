package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// RelatedQuery says which events that relate to another are wanted.
type RelatedQuery struct {
	RoomNID  int64
	ParentID string
	// RelType and EventType narrow them, unless "".
	RelType, EventType string
	// Depth is how many relations may lie between: 1 for those of the event itself.
	Depth int
	// Backwards is newest first.
	Backwards bool
}

// RelatedEvents returns up to limit of the events between two places, exclusive both, that relate to the
// query's.
func (db *DB) RelatedEvents(ctx context.Context, q RelatedQuery, after, before Place, limit int) ([]*Event, error) {
	order := `e.position, e.sub`
	if q.Backwards {
		order = `e.position DESC, e.sub DESC`
	}
	from := `FROM event_relations c`
	where := `c.parent_id = $1`
	if q.Depth > 1 {
		from = `FROM tree JOIN event_relations c USING (nid)`
		where = `$1 <> ''`
	}
	rows, err := db.query(ctx, relatedTree(q.Depth)+`SELECT`+eventColumns+from+`
		JOIN events e ON e.nid = c.nid JOIN rooms r ON r.nid = e.room_nid
		WHERE `+where+` AND c.room_nid = $2 AND ($3 = '' OR c.rel_type = $3) AND ($4 = '' OR c.event_type = $4)
			AND (c.position, c.sub) > ($5, $6) AND (c.position, c.sub) < ($7, $8)
		ORDER BY `+order+` LIMIT $9`,
		q.ParentID, q.RoomNID, q.RelType, q.EventType, after.Position, after.Sub, before.Position, before.Sub, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading related events: %w", err)
	}
	return events, nil
}

// relatedTree collects what relates to $1 over several relations; the depth is one of ours.
func relatedTree(depth int) string {
	if depth <= 1 {
		return ""
	}
	return fmt.Sprintf(`WITH RECURSIVE tree (nid, depth) AS (
		SELECT nid, 1 FROM event_relations WHERE parent_id = $1
		UNION ALL
		SELECT c.nid, tree.depth + 1 FROM tree JOIN events p ON p.nid = tree.nid JOIN event_relations c ON c.parent_id = p.event_id
		WHERE tree.depth < %d) `, depth)
}

// Thread is a thread of a room.
type Thread struct {
	RootID string
	// Latest is the place of its newest event.
	Latest Place
}

// Threads returns up to limit of the room's threads whose newest event is before a place, the newest
// first. participant, unless "", is somebody who began the thread or has written in it.
func (db *DB) Threads(ctx context.Context, room int64, participant string, before Place, limit int) ([]Thread, error) {
	rows, err := db.query(ctx, `
		SELECT t.root_id, t.latest_position, t.latest_sub FROM threads t JOIN events e ON e.event_id = t.root_id AND e.room_nid = t.room_nid
		WHERE t.room_nid = $1 AND (t.latest_position, t.latest_sub) < ($3, $4)
			AND EXISTS (SELECT FROM event_relations c WHERE c.parent_id = t.root_id AND c.rel_type = 'm.thread')
			AND ($2 = '' OR e.sender = $2 OR EXISTS (
				SELECT FROM event_relations c WHERE c.parent_id = t.root_id AND c.rel_type = 'm.thread' AND c.sender = $2))
		ORDER BY t.latest_position DESC, t.latest_sub DESC LIMIT $5`, room, participant, before.Position, before.Sub, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (t Thread, err error) {
		return t, r.Scan(&t.RootID, &t.Latest.Position, &t.Latest.Sub)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the threads of a room: %w", err)
	}
	return list, nil
}

// EventsInOrder returns those of the events that exist, in the order of ids.
func (db *DB) EventsInOrder(ctx context.Context, ids []string) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM unnest($1::text[]) WITH ORDINALITY AS w (id, n) JOIN events e ON e.event_id = w.id JOIN rooms r ON r.nid = e.room_nid
		ORDER BY w.n`, pq.StringArray(ids))
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading events in order: %w", err)
	}
	return events, nil
}
