-- How far each server has been sent what happened in the rooms it is in.
CREATE TABLE federation_cursors (
    position bigint NOT NULL,
    server   text COLLATE "C" PRIMARY KEY
) WITH (fillfactor = 50);
