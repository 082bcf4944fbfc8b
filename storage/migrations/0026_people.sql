-- Whom the user directory knows, by the words of their name and id: users of this server
-- by their profile, others by their newest membership.
CREATE TABLE people (
    user_id      text COLLATE "C" PRIMARY KEY,
    display_name text NOT NULL,
    avatar_url   text NOT NULL,
    words        tsvector NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX people_words ON people USING gin (words);

-- Users of this server whose entry is to be made anew.
CREATE TABLE stale_people (user_id text COLLATE "C" PRIMARY KEY);
INSERT INTO stale_people (user_id) SELECT user_id FROM users;

-- Up to which membership those of other servers are in the directory.
CREATE TABLE people_progress (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL,
    user_id  text COLLATE "C" NOT NULL
) WITH (fillfactor = 10);
INSERT INTO people_progress (position, user_id) VALUES (0, '');
CREATE INDEX memberships_position ON memberships (position, user_id);
