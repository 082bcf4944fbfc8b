-- A suspended user reads but doesn't act; a guest may do less from the start.
ALTER TABLE users
    ADD COLUMN suspended boolean NOT NULL DEFAULT false,
    ADD COLUMN guest     boolean NOT NULL DEFAULT false;
-- Rooms that stop admitting guests ask who of their members is one.
CREATE INDEX users_guests ON users (user_id) WHERE guest;

-- Short-lived tokens that prove who somebody is for one purpose: to log in once, or
-- to tell a third party. Only their hashes are kept.
CREATE TABLE proofs (
    expires_at timestamptz NOT NULL,
    purpose    text NOT NULL,
    user_id    text COLLATE "C" NOT NULL REFERENCES users,
    hash       bytea PRIMARY KEY
);
-- What has expired, and a user's own, of which the oldest give way.
CREATE INDEX proofs_expires ON proofs (expires_at);
CREATE INDEX proofs_user ON proofs (user_id, purpose, expires_at);
