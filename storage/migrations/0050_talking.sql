-- Messages to devices of other servers' users, each as the server is sent it, until
-- it has taken it.
CREATE TABLE federation_to_device (
    position bigint PRIMARY KEY,
    server   text COLLATE "C" NOT NULL,
    content  text NOT NULL
);
-- A server's messages in order.
CREATE INDEX federation_to_device_server ON federation_to_device (server, position);

-- The newest change of each device that other servers are told of; device_id '' is
-- for a user's cross-signing keys. previous is the change of another device of the
-- user's before it. A row outlives its device until every server has been told.
CREATE TABLE device_changes (
    position  bigint NOT NULL,
    previous  bigint NOT NULL,
    deleted   boolean NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, device_id)
) WITH (fillfactor = 70);
-- What changed since a position.
CREATE INDEX device_changes_stream ON device_changes (position);
INSERT INTO device_changes (position, previous, deleted, user_id, device_id)
SELECT coalesce(l.position, 0), 0, false, k.user_id, k.device_id FROM device_keys k LEFT JOIN device_lists l USING (user_id);

-- What was read since a position, for other servers.
CREATE INDEX receipts_stream ON receipts (position) WHERE receipt_type = 'm.read';

-- When a server failed last, and how.
ALTER TABLE destinations ADD COLUMN failed_at bigint NOT NULL DEFAULT 0, ADD COLUMN last_error text NOT NULL DEFAULT '';
-- When a server last took a transaction; 0 for never.
ALTER TABLE federation_cursors ADD COLUMN succeeded_at bigint NOT NULL DEFAULT 0;
