-- Backups of room keys, which only their owners can read. version counts up for
-- each user and is never given twice, so a deleted one keeps its row. etag changes
-- with the keys.
CREATE TABLE key_backups (
    version   bigint NOT NULL,
    etag      bigint NOT NULL DEFAULT 0,
    keys      bigint NOT NULL DEFAULT 0, -- how many there are
    deleted   boolean NOT NULL DEFAULT false,
    user_id   text COLLATE "C" NOT NULL REFERENCES users,
    algorithm text NOT NULL,
    auth_data text NOT NULL,
    PRIMARY KEY (user_id, version)
) WITH (fillfactor = 70);

CREATE TABLE backed_up_keys (
    version             bigint NOT NULL,
    first_message_index bigint NOT NULL,
    forwarded_count     bigint NOT NULL,
    is_verified         boolean NOT NULL,
    user_id             text COLLATE "C" NOT NULL,
    room_id             text COLLATE "C" NOT NULL,
    session_id          text COLLATE "C" NOT NULL,
    session_data        text NOT NULL,
    PRIMARY KEY (user_id, version, room_id, session_id),
    FOREIGN KEY (user_id, version) REFERENCES key_backups
);
