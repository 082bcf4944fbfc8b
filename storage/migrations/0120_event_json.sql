-- An event's JSON as PostgreSQL reads it, which fails of texts with NUL, wherever they stand: these
-- get U+FFFD instead. What is to be written as \u0000 itself becomes \ufffd, which is JSON as well.
CREATE FUNCTION event_json(text) RETURNS json LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT replace($1, '\u0000', '\ufffd')::json $$;
