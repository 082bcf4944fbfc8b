-- Of what was fetched of a room's past many events have one position: the newest event of a thread is told by its whole
-- place, which no other thread's has.
ALTER TABLE threads ADD COLUMN latest_sub integer NOT NULL DEFAULT 0;
UPDATE threads t SET latest_sub = r.sub FROM (
    SELECT room_nid, parent_id, position, max(sub) AS sub FROM event_relations WHERE rel_type = 'm.thread'
    GROUP BY room_nid, parent_id, position
) AS r WHERE r.room_nid = t.room_nid AND r.parent_id = t.root_id AND r.position = t.latest_position AND r.sub < 0;
DROP INDEX threads_latest;
CREATE INDEX threads_latest ON threads (room_nid, latest_position, latest_sub);
