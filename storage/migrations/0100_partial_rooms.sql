-- Rooms that were joined, by way of the server via, before all of their members were known.
-- servers are those in the room then, as it tells. joined_at is the position of the join,
-- whole_at that as of which everything is known, 0 while it isn't.
CREATE TABLE partial_rooms (
    room_nid   bigint PRIMARY KEY,
    joined_at  bigint NOT NULL,
    whole_at   bigint NOT NULL,
    started_at bigint NOT NULL, -- milliseconds since 1970
    join_id    text COLLATE "C" NOT NULL,
    via        text COLLATE "C" NOT NULL,
    servers    text[] NOT NULL
);
-- Those to be completed.
CREATE INDEX partial_rooms_pending ON partial_rooms (room_nid) WHERE whole_at = 0;
