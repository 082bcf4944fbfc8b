-- What is fetched of a room's past lies behind positions that the index has passed: its blocks are
-- among the others by their place, (last_position, last_sub). Of others that is (…, 0).
ALTER TABLE search_blocks ADD COLUMN last_sub integer NOT NULL DEFAULT 0;
DROP INDEX search_blocks_last;
CREATE INDEX search_blocks_last ON search_blocks (last_position, last_sub);
-- The words are always looked up in their index, however many blocks have them, so that statistics of
-- them, which take long to collect, would be for nothing.
ALTER TABLE search_blocks ALTER COLUMN words SET STATISTICS 0;

-- What of that isn't in the index yet: a room's events at a position, from first_sub to last_sub.
CREATE TABLE search_past (
    room_nid  bigint NOT NULL,
    position  bigint NOT NULL,
    first_sub integer NOT NULL,
    last_sub  integer NOT NULL,
    PRIMARY KEY (position, room_nid)
);
INSERT INTO search_past (room_nid, position, first_sub, last_sub)
SELECT room_nid, position, min(sub), max(sub) FROM events WHERE position IS NOT NULL AND sub < 0 GROUP BY room_nid, position;
