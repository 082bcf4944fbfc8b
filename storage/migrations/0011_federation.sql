-- The signing keys of servers, this one's own among them. expired_at is when an old
-- key stopped being used, 0 for one in use. Times are milliseconds since 1970.
CREATE TABLE server_keys (
    valid_until bigint NOT NULL,
    expired_at  bigint NOT NULL,
    server      text COLLATE "C" NOT NULL,
    key_id      text COLLATE "C" NOT NULL,
    public_key  bytea NOT NULL CHECK (octet_length(public_key) = 32),
    PRIMARY KEY (server, key_id)
);

-- The newest signed object in which each server published its keys, for those who
-- ask this server for them.
CREATE TABLE server_key_objects (
    valid_until bigint NOT NULL,
    fetched_at  bigint NOT NULL,
    server      text COLLATE "C" PRIMARY KEY,
    json        text NOT NULL
);

-- Servers that couldn't be reached: since when, how often in a row, and when to try
-- again. A server that answers has no row.
CREATE TABLE destinations (
    failing_since bigint NOT NULL,
    retry_at      bigint NOT NULL,
    failures      integer NOT NULL,
    server        text COLLATE "C" PRIMARY KEY
);
