-- What is known of the devices and cross-signing keys of other servers' users who share
-- rooms with this one's. stream_id is the newest change that it holds, 0 for not known;
-- changes counts what was heard of, so that an answer that was overtaken isn't taken for new.
CREATE TABLE remote_device_lists (
    stream_id    bigint NOT NULL DEFAULT 0,
    changes      bigint NOT NULL DEFAULT 0,
    checked_at   bigint NOT NULL DEFAULT 0,
    stale        boolean NOT NULL DEFAULT true,
    user_id      text COLLATE "C" PRIMARY KEY,
    master       text NOT NULL DEFAULT '',
    self_signing text NOT NULL DEFAULT ''
);
-- Those to ask for again.
CREATE INDEX remote_device_lists_stale ON remote_device_lists (user_id) WHERE stale;

CREATE TABLE remote_devices (
    user_id   text COLLATE "C" NOT NULL REFERENCES remote_device_lists ON DELETE CASCADE,
    device_id text COLLATE "C" NOT NULL,
    json      text NOT NULL,
    PRIMARY KEY (user_id, device_id)
);
