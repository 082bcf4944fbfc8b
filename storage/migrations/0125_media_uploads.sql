-- What users are uploading just now, of users that have a quota. No row outlives the
-- process that is receiving it by more than a restart.
CREATE TABLE media_uploads (
    upload_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bytes     bigint NOT NULL,
    user_id   text COLLATE "C" NOT NULL
);
CREATE INDEX media_uploads_user ON media_uploads (user_id);
