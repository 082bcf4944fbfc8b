package storage

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/lib/pq"
	"github.com/tidwall/gjson"
)

// Relation is how an event relates to another of its room. Key is that of an annotation.
//
// https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
type Relation struct{ EventID, Type, Key string }

// maxRelationText bounds the parts of a relation, in bytes: no event id or type is longer. Of a
// longer key the beginning counts.
const maxRelationText = 255

// ContentRelation returns the relation in an event's content, if there is one.
func ContentRelation(content []byte) (Relation, bool) {
	if !bytes.Contains(content, []byte(`"m.relates_to"`)) {
		return Relation{}, false
	}
	raw := gjson.GetBytes(content, `m\.relates_to`)
	r := Relation{EventID: raw.Get("event_id").Str, Type: raw.Get("rel_type").Str, Key: raw.Get("key").Str}
	r.Key = strings.ToValidUTF8(r.Key[:min(len(r.Key), maxRelationText)], "")
	sane := func(s string) bool { return s != "" && len(s) <= maxRelationText && strings.IndexByte(s, 0) < 0 }
	return r, sane(r.EventID) && sane(r.Type) && (r.Key == "" || sane(r.Key))
}

// Relation returns the event's relation, if it has one that counts: rejected events'
// don't.
func (e *Event) Relation() (Relation, bool) {
	if !e.Accepted() || !bytes.Contains(e.JSON, []byte(`"m.relates_to"`)) {
		return Relation{}, false
	}
	return ContentRelation([]byte(gjson.GetBytes(e.JSON, "content").Raw))
}

// relationRows are the relations of a batch, as columns.
type relationRows struct {
	nid, room, place                        intArray
	parent, relType, eventType, sender, key textArray
}

func (p *plan) relations() *relationRows {
	var rows relationRows
	for _, e := range p.events {
		r, ok := e.Relation()
		if !ok {
			continue
		}
		rows.nid.add(e.NID)
		rows.room.add(e.RoomNID)
		rows.place.add(p.offsets[e.NID])
		rows.parent.add(r.EventID)
		rows.relType.add(r.Type)
		rows.eventType.add(e.Type)
		rows.sender.add(e.Sender)
		rows.key.add(r.Key)
	}
	return &rows
}

func (r *relationRows) empty() bool { return len(r.nid.buf) == 0 }

func (r *relationRows) args() []any {
	return []any{&r.nid, &r.room, &r.place, &r.parent, &r.relType, &r.eventType, &r.sender, &r.key}
}

// writeRelationsSQL are parts of the statement that writes events: an annotation that is there
// already is not written again, and what relates to an event of another room relates to nothing.
const writeRelationsSQL = `, rel AS MATERIALIZED (
    SELECT u.*, head.base + u.place AS position
    FROM head, unnest($27::bigint[], $28::bigint[], $29::bigint[], $30::text[], $31::text[], $32::text[], $33::text[], $34::text[])
        AS u (nid, room_nid, place, parent_id, rel_type, event_type, sender, key)
    WHERE u.room_nid IN (SELECT nid FROM moved)
        AND NOT EXISTS (SELECT FROM events p WHERE p.event_id = u.parent_id AND p.room_nid <> u.room_nid)
), related AS (
    INSERT INTO event_relations (nid, room_nid, position, parent_id, rel_type, event_type, sender, key)
    SELECT nid, room_nid, position, parent_id, rel_type, event_type, sender, key FROM rel
    ON CONFLICT DO NOTHING
), threaded AS (
    INSERT INTO threads AS t (room_nid, root_id, latest_position)
    SELECT room_nid, parent_id, max(position) FROM rel WHERE rel_type = 'm.thread' GROUP BY room_nid, parent_id
    ON CONFLICT (room_nid, root_id) DO UPDATE SET latest_position = excluded.latest_position, latest_sub = 0
)`

// Related says what events of one type relate to another event.
type Related struct {
	ParentID, Type string
	Count          int
	// BySender is whether one of them is the asked-for user's.
	BySender bool
	// Latest is the number of the newest in the timeline.
	Latest int64
}

// CountRelated counts, by type, the threads' events, edits and references of the events with
// the given ids, leaving out the senders in ignored.
func (db *DB) CountRelated(ctx context.Context, parents []string, userID string, ignored []string) ([]Related, error) {
	rows, err := db.query(ctx, `
		SELECT parent_id, rel_type, count(*), bool_or(sender = $2), (max(ARRAY[position, sub, nid]))[3] FROM event_relations
		WHERE parent_id = ANY($1) AND rel_type IN ('m.thread', 'm.replace', 'm.reference') AND NOT sender = ANY($3)
		GROUP BY parent_id, rel_type`, pq.StringArray(parents), userID, append(pq.StringArray{}, ignored...))
	list, err := collect(rows, err, func(r *sql.Rows) (v Related, err error) {
		return v, r.Scan(&v.ParentID, &v.Type, &v.Count, &v.BySender, &v.Latest)
	})
	if err != nil {
		return nil, fmt.Errorf("counting what relates to events: %w", err)
	}
	return list, nil
}

// LatestEdits returns the number of the newest valid edit of each of the events that has one: by the
// same sender, of the same type, of no state event and no edit. What it says instead must be there, unless
// it is encrypted.
//
// https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events
func (db *DB) LatestEdits(ctx context.Context, parents []string) (map[string]int64, error) {
	rows, err := db.query(ctx, `
		SELECT DISTINCT ON (c.parent_id) c.parent_id, c.nid
		FROM event_relations c JOIN events p ON p.event_id = c.parent_id JOIN events e ON e.nid = c.nid
		WHERE c.parent_id = ANY($1) AND c.rel_type = 'm.replace' AND c.room_nid = p.room_nid AND c.sender = p.sender AND c.event_type = p.type
			AND p.state_key IS NULL AND e.state_key IS NULL AND p.redacted_by IS NULL
			AND NOT EXISTS (SELECT FROM event_relations x WHERE x.nid = p.nid AND x.rel_type = 'm.replace')
			AND (e.type = 'm.room.encrypted' OR event_json(e.json)#>'{content,m.new_content}' IS NOT NULL)
		ORDER BY c.parent_id, e.origin_ts DESC, e.event_id DESC`, pq.StringArray(parents))
	edits := map[string]int64{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var parent string
		var nid int64
		err := r.Scan(&parent, &nid)
		edits[parent] = nid
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading edits: %w", err)
	}
	return edits, nil
}

// References returns the numbers of up to limit of the events that refer to the parent, oldest first.
func (db *DB) References(ctx context.Context, parent string, ignored []string, limit int) ([]int64, error) {
	rows, err := db.query(ctx, `
		SELECT nid FROM event_relations WHERE parent_id = $1 AND rel_type = 'm.reference' AND NOT sender = ANY($2)
		ORDER BY position, sub LIMIT $3`, parent, append(pq.StringArray{}, ignored...), limit)
	list, err := collect(rows, err, func(r *sql.Rows) (nid int64, err error) { return nid, r.Scan(&nid) })
	if err != nil {
		return nil, fmt.Errorf("reading references: %w", err)
	}
	return list, nil
}

// HasAnnotation reports whether the user has annotated an event in this way.
func (db *DB) HasAnnotation(ctx context.Context, parent, userID, eventType, key string) (bool, error) {
	var yes bool
	err := db.scanRow(ctx, `
		SELECT EXISTS (SELECT FROM event_relations
			WHERE parent_id = $1 AND sender = $2 AND event_type = $3 AND key = $4 AND rel_type = 'm.annotation')`,
		[]any{parent, userID, eventType, key}, &yes)
	if err != nil {
		return false, fmt.Errorf("looking for an annotation: %w", err)
	}
	return yes, nil
}

// IsRelated reports whether an event relates to another. It returns ErrNotFound for one that isn't
// known in the room.
func (db *DB) IsRelated(ctx context.Context, room int64, eventID string) (bool, error) {
	var yes bool
	err := db.scanRow(ctx, `
		SELECT EXISTS (SELECT FROM event_relations c WHERE c.nid = e.nid) FROM events e WHERE event_id = $2 AND room_nid = $1`, []any{room, eventID}, &yes)
	return yes, notFound("looking for what an event relates to", err)
}

// IndirectThreads returns the root of the thread that each of the events is in because it relates
// to one of the thread's events; those that are in none are left out.
func (db *DB) IndirectThreads(ctx context.Context, events []int64) (map[int64]string, error) {
	rows, err := db.query(ctx, `
		SELECT nid, root FROM unnest($1::bigint[]) AS e (nid) CROSS JOIN LATERAL indirect_thread(nid) AS root WHERE root <> ''`, nids(events))
	threads := map[int64]string{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var nid int64
		var root string
		err := r.Scan(&nid, &root)
		threads[nid] = root
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the threads of events: %w", err)
	}
	return threads, nil
}
