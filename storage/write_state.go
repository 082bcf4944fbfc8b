package storage

import (
	"context"

	"github.com/lib/pq"
)

// writeState writes what state events change, for the rooms that moved.
func (w *batchWriter) writeState(ctx context.Context, p *plan) error {
	var changes []*RoomChange
	for _, r := range p.rooms {
		if !r.failed {
			for _, t := range r.tickets {
				changes = append(changes, t.change.Room)
			}
		}
	}
	for _, write := range []func(context.Context, []*RoomChange) error{
		w.placeOutliers, w.writeStuck, w.writeJudgedAnew, w.writePartial, w.writeSnapshots, w.writeCurrentState, w.removeCurrentState, w.writeMemberships,
		w.writeInviteStates, w.writeRedactions, w.writePendingRedactions, w.writeGaps, w.writeHighlights, w.writeExceptions, w.writeSummaries, w.writeDirectory,
	} {
		if err := write(ctx, changes); err != nil {
			return err
		}
	}
	return nil
}

// placeOutliers gives events that are stored already their place.
func (w *batchWriter) placeOutliers(ctx context.Context, changes []*RoomChange) error {
	var nid, position, snapshot, replaces, flags intArray
	var notifies textArray
	for _, c := range changes {
		for _, e := range c.Events {
			if !c.Placed[e.NID] {
				continue
			}
			nid.add(e.NID)
			position.add(e.Position)
			snapshot.addOrNull(e.SnapshotNID)
			replaces.addOrNull(e.ReplacesNID)
			flags.add(int64(e.Flags))
			notifies.add(pgBool(e.Notifies))
		}
	}
	if len(nid.buf) == 0 {
		return nil
	}
	return w.exec(ctx, "placing outliers", `
		UPDATE events e SET position = p.position, sub = 0, snapshot_nid = p.snapshot_nid, replaces_nid = p.replaces_nid,
			flags = p.flags, notifies = p.notifies
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::boolean[])
			AS p (nid, position, snapshot_nid, replaces_nid, flags, notifies)
		WHERE e.nid = p.nid`, &nid, &position, &snapshot, &replaces, &flags, &notifies)
}

func (w *batchWriter) writeSnapshots(ctx context.Context, changes []*RoomChange) error {
	var nid, room, parent, depth intArray
	var events textArray
	for _, c := range changes {
		for _, s := range c.Snapshots {
			nid.add(s.NID)
			room.add(c.Room.NID)
			parent.addOrNull(s.ParentNID)
			depth.add(s.Depth)
			literal, _ := pq.Int64Array(s.EventNIDs).Value()
			events.add(literal.(string))
		}
	}
	if len(nid.buf) == 0 {
		return nil
	}
	return w.exec(ctx, "writing state snapshots", `
		INSERT INTO state_snapshots (nid, room_nid, parent_nid, depth, event_nids)
		SELECT nid, room_nid, parent_nid, depth, event_nids::bigint[]
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[])
			AS s (nid, room_nid, parent_nid, depth, event_nids)`,
		&nid, &room, &parent, &depth, &events)
}

// lastState is the last change of each piece of state in the batch: one
// statement can't touch a row twice.
func lastState(changes []*RoomChange, removed bool) map[roomTuple]stateRow {
	last := map[roomTuple]stateRow{}
	for _, c := range changes {
		for _, s := range c.State {
			row := stateRow{StateEntry: s.StateEntry, position: c.Position}
			if s.Event < len(c.Events) {
				row.position = c.Events[s.Event].Position
			}
			last[roomTuple{c.Room.NID, s.StateTuple}] = row
		}
	}
	for k, row := range last {
		if (row.EventNID == 0) != removed {
			delete(last, k)
		}
	}
	return last
}

type roomTuple struct {
	room int64
	StateTuple
}

type stateRow struct {
	StateEntry
	position Position
}

func (w *batchWriter) writeCurrentState(ctx context.Context, changes []*RoomChange) error {
	var room, event, position intArray
	var typ, key, id, membership textArray
	for t, row := range lastState(changes, false) {
		room.add(t.room)
		event.add(row.EventNID)
		position.add(row.position)
		typ.add(t.Type)
		key.add(t.StateKey)
		id.add(row.EventID)
		membership.addOrNull(row.Membership)
	}
	if len(room.buf) == 0 {
		return nil
	}
	return w.exec(ctx, "writing current state", `
		INSERT INTO current_state (room_nid, event_nid, position, type, state_key, event_id, membership)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
		ON CONFLICT (room_nid, type, state_key) DO UPDATE SET event_nid = excluded.event_nid,
			position = excluded.position, event_id = excluded.event_id, membership = excluded.membership`,
		&room, &event, &position, &typ, &key, &id, &membership)
}

func (w *batchWriter) removeCurrentState(ctx context.Context, changes []*RoomChange) error {
	var room intArray
	var typ, key textArray
	for t := range lastState(changes, true) {
		room.add(t.room)
		typ.add(t.Type)
		key.add(t.StateKey)
	}
	if len(room.buf) == 0 {
		return nil
	}
	return w.exec(ctx, "removing current state", `
		DELETE FROM current_state c USING unnest($1::bigint[], $2::text[], $3::text[]) AS d (room_nid, type, state_key)
		WHERE c.room_nid = d.room_nid AND c.type = d.type AND c.state_key = d.state_key`, &room, &typ, &key)
}

func (w *batchWriter) writeMemberships(ctx context.Context, changes []*RoomChange) error {
	type key struct {
		room int64
		user string
	}
	last := map[key]Membership{}
	for _, c := range changes {
		for _, m := range c.Memberships {
			last[key{m.RoomNID, m.UserID}] = m
		}
	}
	if len(last) == 0 {
		return nil
	}
	var room, event, position intArray
	var user, membership, sender, forgotten textArray
	for _, m := range last {
		forgotten.add(pgBool(m.Forgotten))
		room.add(m.RoomNID)
		event.add(m.EventNID)
		position.add(m.Position)
		user.add(m.UserID)
		membership.add(m.Membership)
		sender.add(m.Sender)
	}
	return w.exec(ctx, "writing memberships", `
		INSERT INTO memberships (room_nid, event_nid, position, user_id, membership, sender, forgotten)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::boolean[])
		ON CONFLICT (room_nid, user_id) DO UPDATE SET event_nid = excluded.event_nid, position = excluded.position,
			forgotten = excluded.forgotten, membership = excluded.membership, sender = excluded.sender`,
		&room, &event, &position, &user, &membership, &sender, &forgotten)
}

func (w *batchWriter) writeRedactions(ctx context.Context, changes []*RoomChange) error {
	var id, by, json textArray
	seen := map[string]bool{}
	for _, c := range changes {
		for _, r := range c.Redactions {
			if !seen[r.ID] {
				seen[r.ID] = true
				id.add(r.ID)
				by.add(r.RedactedBy)
				json.add(string(r.JSON))
			}
		}
	}
	if len(id.buf) == 0 {
		return nil
	}
	return w.exec(ctx, "redacting events", `
		WITH redacted AS (
			UPDATE events e SET redacted_by = r.by, json = r.json, notifies = false, sticky_until = NULL
			FROM unnest($1::text[], $2::text[], $3::text[]) AS r (event_id, by, json)
			WHERE e.event_id = r.event_id AND e.redacted_by IS NULL RETURNING e.nid
		), gone AS (
			DELETE FROM event_relations c USING redacted WHERE c.nid = redacted.nid RETURNING c.nid, c.room_nid, c.parent_id, c.rel_type
		) `+shortenThreadsSQL, &id, &by, &json)
}

// shortenThreadsSQL has threads end with the newest of what is left of them when relations are gone.
const shortenThreadsSQL = `
	UPDATE threads t SET latest_position = l.position, latest_sub = l.sub
	FROM (SELECT DISTINCT room_nid, parent_id FROM gone WHERE rel_type = 'm.thread') AS g
	CROSS JOIN LATERAL (
		SELECT position, sub FROM event_relations c
		WHERE c.parent_id = g.parent_id AND c.rel_type = 'm.thread' AND c.room_nid = g.room_nid AND c.nid NOT IN (SELECT nid FROM gone)
		ORDER BY position DESC, sub DESC LIMIT 1
	) AS l
	WHERE t.room_nid = g.room_nid AND t.root_id = g.parent_id`

func (w *batchWriter) writeHighlights(ctx context.Context, changes []*RoomChange) error {
	var room, position intArray
	var user textArray
	for _, c := range changes {
		for _, h := range c.Highlights {
			room.add(c.Room.NID)
			position.add(c.Events[h.Event].Position)
			user.add(h.UserID)
		}
	}
	if len(room.buf) == 0 {
		return nil
	}
	return w.exec(ctx, "writing highlights", `
		INSERT INTO highlights (room_nid, position, user_id)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) ON CONFLICT DO NOTHING`, &room, &position, &user)
}

func (w *batchWriter) writeSummaries(ctx context.Context, changes []*RoomChange) error {
	last := map[int64]*RoomSummary{}
	for _, c := range changes {
		if c.Summary != nil {
			last[c.Room.NID] = c.Summary
		}
	}
	if len(last) == 0 {
		return nil
	}
	var room, joined, invited intArray
	var guest, name, topic, alias, avatar, rule, typ, visibility, encryption textArray
	for nid, s := range last {
		room.add(nid)
		joined.add(int64(s.JoinedMembers))
		invited.add(int64(s.InvitedMembers))
		guest.add(pgBool(s.GuestCanJoin))
		name.add(s.Name)
		topic.add(s.Topic)
		alias.add(s.CanonicalAlias)
		avatar.add(s.AvatarURL)
		rule.add(s.JoinRule)
		typ.add(s.RoomType)
		visibility.add(s.HistoryVisibility)
		encryption.add(s.Encryption)
	}
	return w.exec(ctx, "writing room summaries", `
		INSERT INTO room_summaries (room_nid, joined_members, invited_members, guest_can_join, name, topic,
			canonical_alias, avatar_url, join_rule, room_type, history_visibility, encryption)
		SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::boolean[], $5::text[], $6::text[],
			$7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])
		ON CONFLICT (room_nid) DO UPDATE SET joined_members = excluded.joined_members,
			invited_members = excluded.invited_members, guest_can_join = excluded.guest_can_join, name = excluded.name,
			topic = excluded.topic, canonical_alias = excluded.canonical_alias, avatar_url = excluded.avatar_url,
			join_rule = excluded.join_rule, room_type = excluded.room_type,
			history_visibility = excluded.history_visibility, encryption = excluded.encryption`,
		&room, &joined, &invited, &guest, &name, &topic, &alias, &avatar, &rule, &typ, &visibility, &encryption)
}

func (w *batchWriter) writeDirectory(ctx context.Context, changes []*RoomChange) error {
	for _, c := range changes {
		for _, a := range c.Aliases {
			if err := w.exec(ctx, "making an alias", `INSERT INTO room_aliases (alias, room_nid, creator) VALUES ($1, $2, $3)`,
				a.Alias, c.Room.NID, a.Creator); err != nil {
				return err
			}
		}
		if c.Publish {
			if err := w.exec(ctx, "publishing a room", `UPDATE room_summaries SET published = true WHERE room_nid = $1`, c.Room.NID); err != nil {
				return err
			}
		}
		if c.SuccessorNID != 0 {
			if err := w.moveDirectory(ctx, c.Room.NID, c.SuccessorNID); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveDirectory gives a room's aliases and its place in the directory to another.
func (w *batchWriter) moveDirectory(ctx context.Context, from, to int64) error {
	if err := w.exec(ctx, "moving aliases", `UPDATE room_aliases SET room_nid = $2 WHERE room_nid = $1`, from, to); err != nil {
		return err
	}
	return w.exec(ctx, "moving a place in the directory", `
		UPDATE room_summaries s SET published = s.room_nid = $2
		WHERE s.room_nid IN ($1, $2) AND EXISTS (SELECT FROM room_summaries o WHERE o.room_nid = $1 AND o.published)`, from, to)
}
