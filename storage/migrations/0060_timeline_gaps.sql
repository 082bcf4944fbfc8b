-- Where events are missing from a room's timeline: before the event at (position, sub).
-- snapshot_nid is the state before that event and visibility the history visibility in
-- it; missing are the events that come right before what is there.
CREATE TABLE timeline_gaps (
    room_nid     bigint NOT NULL,
    position     bigint NOT NULL,
    snapshot_nid bigint NOT NULL,
    sub          integer NOT NULL DEFAULT 0,
    visibility   text NOT NULL,
    missing      text[] NOT NULL,
    PRIMARY KEY (room_nid, position)
);

-- Redactions of events that aren't known, or weren't when the redaction came.
CREATE TABLE pending_redactions (
    room_nid     bigint NOT NULL,
    target       text COLLATE "C" NOT NULL,
    redaction_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (target, redaction_id)
);

-- The gaps before the joins by other servers that there have been.
INSERT INTO timeline_gaps (room_nid, position, snapshot_nid, visibility, missing)
SELECT e.room_nid, e.position, e.snapshot_nid,
    coalesce((SELECT v.json::json->'content'->>'history_visibility' FROM events v
        WHERE v.room_nid = e.room_nid AND v.type = 'm.room.history_visibility' AND v.state_key = '' AND v.position IS NULL
        ORDER BY v.depth DESC LIMIT 1), ''),
    m.missing
FROM (SELECT DISTINCT room_nid FROM events WHERE flags & 1 = 1) AS shared
JOIN events e ON e.room_nid = shared.room_nid AND e.type = 'm.room.member' AND e.position IS NOT NULL AND e.snapshot_nid IS NOT NULL
CROSS JOIN LATERAL (
    SELECT array_agg(p.id) AS missing FROM (
        SELECT coalesce(x.value->>0, x.value #>> '{}') AS id FROM json_array_elements(e.json::json->'prev_events') AS x
    ) AS p WHERE NOT EXISTS (SELECT FROM events k WHERE k.event_id = p.id AND k.position IS NOT NULL)
) AS m
WHERE m.missing IS NOT NULL;
