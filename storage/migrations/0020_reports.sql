-- What users have reported to the administrators: an event, a whole room (no event_id), or
-- a user (target).
CREATE TABLE reports (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at bigint NOT NULL, -- milliseconds since 1970
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('event', 'room', 'user')),
    reporter    text COLLATE "C" NOT NULL,
    room_id     text COLLATE "C" NOT NULL DEFAULT '',
    event_id    text COLLATE "C" NOT NULL DEFAULT '',
    target      text COLLATE "C" NOT NULL DEFAULT '',
    reason      text NOT NULL
);
-- The newest of a kind.
CREATE INDEX reports_kind ON reports (kind, id);
-- How many somebody has made.
CREATE INDEX reports_reporter ON reports (reporter, id);
