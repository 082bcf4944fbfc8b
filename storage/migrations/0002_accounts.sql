-- One row per account of this server. It stays when the account is deactivated,
-- so that its id is never given to somebody else.
CREATE TABLE users (
    created_at     timestamptz NOT NULL DEFAULT now(),
    deactivated_at timestamptz,
    admin          boolean NOT NULL DEFAULT false,
    locked         boolean NOT NULL DEFAULT false,
    erased         boolean NOT NULL DEFAULT false,
    leaving        boolean NOT NULL DEFAULT false, -- deactivated, but perhaps still in rooms
    user_id        text COLLATE "C" PRIMARY KEY,
    user_type      text NOT NULL DEFAULT '',
    password_hash  text NOT NULL DEFAULT ''        -- '' can't log in with a password
);
-- Deactivations to finish after a restart.
CREATE INDEX users_leaving ON users (user_id) WHERE leaving;

CREATE TABLE devices (
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz,
    user_id      text COLLATE "C" NOT NULL REFERENCES users,
    device_id    text COLLATE "C" NOT NULL,
    display_name text NOT NULL DEFAULT '',
    last_seen_ip text NOT NULL DEFAULT '',
    user_agent   text NOT NULL DEFAULT '',
    PRIMARY KEY (user_id, device_id)
) WITH (fillfactor = 80);

-- An access token with its refresh token, if it has one; only their hashes are
-- kept. A refresh makes a new row whose replaces_id is the old one, which goes
-- when the new one is first used.
CREATE TABLE tokens (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    replaces_id  bigint,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz, -- of the access token; NULL is never
    access_hash  bytea NOT NULL UNIQUE,
    refresh_hash bytea UNIQUE,
    user_id      text COLLATE "C" NOT NULL,
    device_id    text COLLATE "C" NOT NULL,
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
);
-- A device's tokens.
CREATE INDEX tokens_device ON tokens (user_id, device_id);
-- The successors of a token.
CREATE INDEX tokens_replaces ON tokens (replaces_id) WHERE replaces_id IS NOT NULL;

-- One row per profile field; the value is JSON.
CREATE TABLE profiles (
    user_id text COLLATE "C" NOT NULL REFERENCES users,
    field   text COLLATE "C" NOT NULL,
    value   text NOT NULL,
    PRIMARY KEY (user_id, field)
);

-- Filters for /sync and /messages, numbered per user. hash finds the same filter
-- uploaded again.
CREATE TABLE filters (
    filter_id integer NOT NULL,
    user_id   text COLLATE "C" NOT NULL REFERENCES users,
    hash      bytea NOT NULL,
    content   text NOT NULL,
    PRIMARY KEY (user_id, filter_id),
    UNIQUE (user_id, hash)
);
