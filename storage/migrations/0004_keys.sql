-- The identity keys of devices, as uploaded: signed JSON.
CREATE TABLE device_keys (
    user_id   text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    json      text NOT NULL,
    PRIMARY KEY (user_id, device_id),
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
);

-- One-time keys, handed out in the order in which they came.
CREATE TABLE one_time_keys (
    number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id   text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    algorithm text COLLATE "C" NOT NULL,
    key_id    text COLLATE "C" NOT NULL,
    json      text NOT NULL,
    UNIQUE (user_id, device_id, algorithm, key_id),
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
);
-- The next key to hand out.
CREATE INDEX one_time_keys_next ON one_time_keys (user_id, device_id, algorithm, number);

-- What is handed out when one-time keys have run out.
CREATE TABLE fallback_keys (
    user_id   text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    algorithm text COLLATE "C" NOT NULL,
    key_id    text COLLATE "C" NOT NULL,
    used      boolean NOT NULL DEFAULT false,
    json      text NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm),
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
);

-- Cross-signing keys by usage: master, self_signing, user_signing.
CREATE TABLE cross_signing_keys (
    user_id text COLLATE "C" NOT NULL REFERENCES users,
    usage   text COLLATE "C" NOT NULL,
    json    text NOT NULL,
    PRIMARY KEY (user_id, usage)
);

-- Signatures that were uploaded apart from the keys they sign. target_key is a
-- device id or the public part of a cross-signing key.
CREATE TABLE key_signatures (
    signer_id   text COLLATE "C" NOT NULL REFERENCES users,
    signer_key  text COLLATE "C" NOT NULL,
    target_id   text COLLATE "C" NOT NULL,
    target_key  text COLLATE "C" NOT NULL,
    signature   text NOT NULL,
    PRIMARY KEY (target_id, target_key, signer_id, signer_key)
);

-- Messages to devices, until the device has acknowledged them.
CREATE TABLE to_device (
    position  bigint PRIMARY KEY,
    user_id   text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    content   text NOT NULL,
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
);
-- A device's messages in order.
CREATE INDEX to_device_device ON to_device (user_id, device_id, position);

-- To-device requests that were answered, by their transaction id.
CREATE TABLE to_device_txns (
    txn_key    uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- Those old enough to forget.
CREATE INDEX to_device_txns_age ON to_device_txns (created_at);

-- When each user's devices or their keys last changed.
CREATE TABLE device_lists (
    user_id  text COLLATE "C" PRIMARY KEY,
    position bigint NOT NULL
);
-- Whose have changed since a position.
CREATE INDEX device_lists_changes ON device_lists (position);
