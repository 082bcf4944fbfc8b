-- With a token, people may make accounts where not everybody may: as many as it allows,
-- as long as it lives.
CREATE TABLE registration_tokens (
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,               -- NULL is never
    uses         integer NOT NULL DEFAULT 0,
    uses_allowed integer,                   -- NULL is any number
    token        text COLLATE "C" PRIMARY KEY
);

-- Which version of the terms the user accepted when the account was made, '' for none.
ALTER TABLE users ADD COLUMN accepted_terms text NOT NULL DEFAULT '';
