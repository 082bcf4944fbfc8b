-- As whom providers of single sign-on know users. It stays when the account is deactivated, so
-- that who signs in again is told so, instead of getting another one.
CREATE TABLE sso_identities (
    added_at timestamptz NOT NULL DEFAULT now(),
    user_id  text COLLATE "C" NOT NULL REFERENCES users,
    issuer   text COLLATE "C" NOT NULL,
    subject  text COLLATE "C" NOT NULL,
    PRIMARY KEY (issuer, subject)
);
-- A provider knows a user once.
CREATE UNIQUE INDEX sso_identities_user ON sso_identities (user_id, issuer);
