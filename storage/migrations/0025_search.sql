-- What was said, by its words. A row is a block of up to 240 messages that follow one another in
-- the stream, whatever their room. words is an inverted index of the block: the
-- "positions" of a word are the numbers, from 1 on, of the messages that have it, and
-- their weights say what it stands in: A the room's name, B its topic, D a message. So
-- 'one <0> two' finds both words in one message, and no text is stored twice.
CREATE TABLE search_blocks (
    nid            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_position bigint NOT NULL,
    last_position  bigint NOT NULL,
    event_nids     bigint[] NOT NULL,
    room_nids      bigint[] NOT NULL, -- of each event
    words          tsvector NOT NULL
);
-- The newest blocks, and the one of an event.
CREATE INDEX search_blocks_last ON search_blocks (last_position);
CREATE INDEX search_blocks_words ON search_blocks USING gin (words);

-- Up to where everything in the stream that can be searched for is in a block.
CREATE TABLE search_progress (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO search_progress (position) VALUES (0);
