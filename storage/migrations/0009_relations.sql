-- Which event relates to which: reactions, edits, threads, references. One row per
-- event of the timeline that has a relation; it goes when the event is redacted.
CREATE TABLE event_relations (
    nid        bigint PRIMARY KEY, -- of the event that relates
    room_nid   bigint NOT NULL,
    position   bigint NOT NULL,
    sub        integer NOT NULL DEFAULT 0,
    parent_id  text COLLATE "C" NOT NULL,
    rel_type   text COLLATE "C" NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    sender     text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL -- of an annotation
);
-- What relates to an event, in the timeline's order.
CREATE INDEX event_relations_parent ON event_relations (parent_id, rel_type, position, sub) INCLUDE (sender, nid);
-- Somebody annotates an event in one way once.
CREATE UNIQUE INDEX event_relations_annotation ON event_relations (parent_id, sender, event_type, key) WHERE rel_type = 'm.annotation';

-- The threads of each room, by their newest event.
CREATE TABLE threads (
    room_nid        bigint NOT NULL,
    latest_position bigint NOT NULL,
    root_id         text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_nid, root_id)
) WITH (fillfactor = 70);
CREATE INDEX threads_latest ON threads (room_nid, latest_position);

-- What is there already. Escaped NULs, which PostgreSQL can't read, occur in nothing
-- that relates sensibly.
INSERT INTO event_relations (nid, room_nid, position, sub, parent_id, rel_type, event_type, sender, key)
SELECT nid, room_nid, position, sub, r->>'event_id', r->>'rel_type', type, sender, left(coalesce(r->>'key', ''), 255)
FROM (
    SELECT *, json::json->'content'->'m.relates_to' AS r FROM events
    WHERE position IS NOT NULL AND flags = 0 AND strpos(json, '"m.relates_to"') > 0 AND strpos(json, '\u0000') = 0
) AS e
WHERE json_typeof(r) = 'object' AND octet_length(r->>'event_id') BETWEEN 1 AND 255 AND octet_length(r->>'rel_type') BETWEEN 1 AND 255
ON CONFLICT DO NOTHING;

INSERT INTO threads (room_nid, root_id, latest_position)
SELECT room_nid, parent_id, max(position) FROM event_relations WHERE rel_type = 'm.thread' GROUP BY room_nid, parent_id;
