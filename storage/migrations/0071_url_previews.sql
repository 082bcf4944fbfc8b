-- What pages say of themselves, by the SHA-256 of their URL, until expires_at.
CREATE TABLE url_previews (
    fetched_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    media_id   text COLLATE "C" NOT NULL, -- of the picture; '' for none
    answer     text NOT NULL              -- JSON
);
-- The oldest, and those that have expired.
CREATE INDEX url_previews_expiry ON url_previews (expires_at);
