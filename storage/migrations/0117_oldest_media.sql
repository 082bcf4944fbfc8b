-- What nobody has asked for for longest, of what may go: by age, or to make room.
DROP INDEX media_refetchable;
CREATE INDEX media_oldest_uploads ON media (accessed_at, origin, media_id)
    WHERE user_id <> '' AND sha256 IS NOT NULL AND quarantined_by IS NULL AND NOT protected;
CREATE INDEX media_oldest_refetchable ON media (accessed_at, origin, media_id)
    WHERE user_id = '' AND sha256 IS NOT NULL AND quarantined_by IS NULL AND NOT protected;
