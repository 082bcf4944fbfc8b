-- A file that nothing may refer to: it was announced, or a media went that referred to it. That
-- of all files only these are looked at makes collecting cost nothing where nothing is to collect.
ALTER TABLE media_files ADD COLUMN loose boolean NOT NULL DEFAULT true;
UPDATE media_files SET loose = false WHERE sha256 IN (SELECT sha256 FROM media);
DROP INDEX media_files_touched;
CREATE INDEX media_files_loose ON media_files (touched_at) WHERE loose;

CREATE FUNCTION loosen_media_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE media_files SET loose = true WHERE NOT loose AND sha256 IN (SELECT sha256 FROM gone);
    RETURN NULL;
END $$;
CREATE TRIGGER media_gone AFTER DELETE ON media REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION loosen_media_files();
