-- The root of the thread that an event is in because it relates to one of the thread's events, such as a reaction to an
-- answer; '' for none. More than three relations aren't followed.
CREATE FUNCTION indirect_thread(child bigint) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce((
        WITH RECURSIVE up (parent_id, rel_type, room_nid, hops) AS (
            SELECT parent_id, rel_type, room_nid, 1 FROM event_relations WHERE nid = child
            UNION ALL
            SELECT c.parent_id, c.rel_type, c.room_nid, up.hops + 1 FROM up
                JOIN events p ON p.event_id = up.parent_id AND p.room_nid = up.room_nid JOIN event_relations c ON c.nid = p.nid
            WHERE up.rel_type <> 'm.thread' AND up.hops < 3
        ) SELECT parent_id FROM up WHERE rel_type = 'm.thread'), '')
$$;

-- What relates to an event of another room relates to nothing.
DELETE FROM event_relations c USING events p WHERE p.event_id = c.parent_id AND p.room_nid <> c.room_nid;
DELETE FROM threads t USING events p WHERE p.event_id = t.root_id AND p.room_nid <> t.room_nid;
