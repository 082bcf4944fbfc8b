-- Until when an event is sticky, in milliseconds since 1970; null for other events.
-- sticky_at is as of when clients are told of it, if it was found in a room's past first.
ALTER TABLE events ADD COLUMN sticky_until bigint, ADD COLUMN sticky_at bigint;
-- A room's sticky events.
CREATE INDEX events_sticky ON events (room_nid, sticky_until) WHERE sticky_until IS NOT NULL;

-- For how long an event that is sent later will be sticky.
ALTER TABLE delayed_events ADD COLUMN sticky_ms bigint;

-- What a single server is to be sent because it shares a room only now, until it has taken
-- it: a sticky event, or a device of a user's.
CREATE TABLE federation_handovers (
    position  bigint PRIMARY KEY,
    event_nid bigint,
    server    text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C",
    device_id text COLLATE "C"
);
-- A server's in order.
CREATE INDEX federation_handovers_server ON federation_handovers (server, position);
