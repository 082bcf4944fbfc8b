-- A device that logged in by OAuth 2.0: the hash of its client's id, whose requests alone refresh its tokens.
ALTER TABLE devices ADD COLUMN oauth_client bytea;
