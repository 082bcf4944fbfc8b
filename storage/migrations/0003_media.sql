-- One row per distinct file in the content-addressed store. The row is written
-- before the file is put in place: a file always has a row, and a row that no
-- media refers to is what a crash left behind.
CREATE TABLE media_files (
    size       bigint NOT NULL,
    touched_at timestamptz NOT NULL DEFAULT now(), -- when the file was last announced
    sha256     bytea PRIMARY KEY CHECK (octet_length(sha256) = 32)
) WITH (fillfactor = 90);
-- Files that nothing refers to, oldest first.
CREATE INDEX media_files_touched ON media_files (touched_at);

-- One row per mxc:// URI. Without a sha256 it is reserved by its creator, who
-- may upload its content until expires_at.
CREATE TABLE media (
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    origin       text COLLATE "C" NOT NULL,
    media_id     text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL, -- '' is another server's media
    sha256       bytea REFERENCES media_files,
    content_type text NOT NULL DEFAULT '',
    filename     text NOT NULL DEFAULT '',
    PRIMARY KEY (origin, media_id),
    CHECK ((sha256 IS NULL) = (expires_at IS NOT NULL))
);
-- What refers to a file.
CREATE INDEX media_sha256 ON media (sha256) WHERE sha256 IS NOT NULL;
-- A user's reserved ids, and those that have expired.
CREATE INDEX media_reserved ON media (user_id, expires_at) WHERE sha256 IS NULL;
