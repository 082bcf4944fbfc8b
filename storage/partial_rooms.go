package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// Partial says that a room was joined before all of its members were known, and what has
// become of that. It is shared and not changed, but for the positions, which the stream
// fills in before anyone is told of the change that holds it.
type Partial struct {
	// JoinID is the event that let this server in, by way of the server Via.
	JoinID, Via string
	// Servers are those in the room before the join, as Via tells, this one left out.
	Servers []string
	// StartedAt is the time of the join, in milliseconds since 1970.
	StartedAt int64
	// JoinedAt is the position of the join.
	JoinedAt Position
	// Done is whether all is known by now, and WholeAt the position as of which it is.
	Done    bool
	WholeAt Position
}

// IsPartial reports whether not all of the room's members are known yet.
func (r *Room) IsPartial() bool { return r.Partial != nil && !r.Partial.Done }

// BecameWhole is the position as of which all of the room's members are known, 0 for a room
// of which they always were, or aren't yet.
func (r *Room) BecameWhole() Position {
	if r.Partial == nil {
		return 0
	}
	return r.Partial.WholeAt
}

// setPosition fills in the position of the change that began or ended it.
func (p *Partial) setPosition(c *RoomChange) {
	if p.Done {
		p.WholeAt = c.Room.LatestPosition
		return
	}
	for _, e := range c.Events {
		if e.ID == p.JoinID {
			p.JoinedAt = e.Position
		}
	}
}

// getPartial reads whether a room's members are known.
func (db *DB) getPartial(ctx context.Context, room int64) (*Partial, error) {
	rows, err := db.query(ctx, `
		SELECT join_id, via, servers, started_at, joined_at, whole_at FROM partial_rooms WHERE room_nid = $1`, room)
	list, err := collect(rows, err, func(r *sql.Rows) (p *Partial, err error) {
		p = &Partial{}
		err = r.Scan(&p.JoinID, &p.Via, (*pq.StringArray)(&p.Servers), &p.StartedAt, &p.JoinedAt, &p.WholeAt)
		p.Done = p.WholeAt > 0
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading whether a room's members are known: %w", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list[0], nil
}

// PartialRooms returns the ids of the rooms of which not all members are known yet.
func (db *DB) PartialRooms(ctx context.Context) ([]string, error) {
	rows, err := db.query(ctx, `SELECT r.room_id FROM partial_rooms p JOIN rooms r ON r.nid = p.room_nid WHERE p.whole_at = 0`)
	list, err := collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("reading which rooms lack members: %w", err)
	}
	return list, nil
}

// MayShare reports whether a server is said to be in a room that lacks members, so that any
// of its users may be.
func (db *DB) MayShare(ctx context.Context, server string) (may bool, err error) {
	err = db.scanRow(ctx, `SELECT EXISTS (SELECT FROM partial_rooms WHERE whole_at = 0 AND $1 = ANY(servers))`, []any{server}, &may)
	if err != nil {
		return false, fmt.Errorf("reading whether a server is in a room: %w", err)
	}
	return may, nil
}

// EventsToJudgeAnew returns up to limit events of a room that were judged while not all of
// its members were known, at or after a position, in the order of the timeline; rejected
// ones are among them.
func (db *DB) EventsToJudgeAnew(ctx context.Context, room int64, from Position, limit int) ([]*Event, error) {
	rows, err := db.query(ctx, `SELECT`+eventColumns+`
		FROM events e JOIN rooms r ON r.nid = e.room_nid
		WHERE e.room_nid = $1 AND e.position >= $2 AND e.position IS NOT NULL AND e.sub = 0 AND e.flags & 32 <> 0
		ORDER BY e.position LIMIT $3`, room, from, limit)
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading the events to judge anew: %w", err)
	}
	return events, nil
}

// writeJudgedAnew writes what has become of events now that all members are known.
func (w *batchWriter) writeJudgedAnew(ctx context.Context, changes []*RoomChange) error {
	var nid, snapshot, replaces, flags intArray
	for _, c := range changes {
		for _, e := range c.JudgedAnew {
			nid.add(e.NID)
			snapshot.addOrNull(e.SnapshotNID)
			replaces.addOrNull(e.ReplacesNID)
			flags.add(int64(e.Flags))
		}
	}
	if len(nid.buf) == 0 {
		return nil
	}
	if err := w.exec(ctx, "judging events anew", `
		UPDATE events e SET snapshot_nid = p.snapshot_nid, replaces_nid = p.replaces_nid, flags = p.flags,
			notifies = e.notifies AND p.flags & 6 = 0
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[]) AS p (nid, snapshot_nid, replaces_nid, flags)
		WHERE e.nid = p.nid`, &nid, &snapshot, &replaces, &flags); err != nil {
		return err
	}
	return w.exec(ctx, "moving gaps to the whole state", `
		UPDATE timeline_gaps g SET snapshot_nid = e.snapshot_nid FROM events e
		WHERE e.nid = ANY($1::bigint[]) AND g.room_nid = e.room_nid AND g.position = e.position AND g.sub = 0`, &nid)
}

func (w *batchWriter) writePartial(ctx context.Context, changes []*RoomChange) error {
	for _, c := range changes {
		if !c.PartialChanged {
			continue
		}
		p := c.Room.Partial
		if err := w.exec(ctx, "noting which members are known", `
			INSERT INTO partial_rooms (room_nid, join_id, via, servers, started_at, joined_at, whole_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (room_nid) DO UPDATE SET join_id = excluded.join_id, via = excluded.via, servers = excluded.servers,
				started_at = excluded.started_at, joined_at = excluded.joined_at, whole_at = excluded.whole_at`,
			c.Room.NID, p.JoinID, p.Via, append(pq.StringArray{}, p.Servers...), p.StartedAt, p.JoinedAt, p.WholeAt); err != nil {
			return err
		}
	}
	return nil
}
