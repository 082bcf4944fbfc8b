-- When media was last asked for, give or take an hour: what can be fetched again
-- goes when there is too much of it, least recently used first.
ALTER TABLE media ADD COLUMN accessed_at timestamptz NOT NULL DEFAULT now();
-- Media that can be fetched again, least recently used first.
CREATE INDEX media_refetchable ON media (accessed_at) WHERE user_id = '' AND sha256 IS NOT NULL;
