-- Who has put media out of reach, and what may not be put there.
ALTER TABLE media ADD COLUMN quarantined_by text COLLATE "C", ADD COLUMN protected boolean NOT NULL DEFAULT false;
-- A user's uploads.
CREATE INDEX media_user ON media (user_id, created_at) WHERE user_id <> '';

-- Which events name which mxc:// URI in the open; what is encrypted nobody knows.
CREATE TABLE media_mentions (
    event_nid bigint NOT NULL,
    room_nid  bigint NOT NULL,
    origin    text COLLATE "C" NOT NULL,
    media_id  text COLLATE "C" NOT NULL,
    PRIMARY KEY (origin, media_id, event_nid)
);
CREATE INDEX media_mentions_room ON media_mentions (room_nid);
-- Up to where the stream has been looked through for them.
CREATE TABLE media_mentions_position (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL
);
INSERT INTO media_mentions_position (position) VALUES (0);
