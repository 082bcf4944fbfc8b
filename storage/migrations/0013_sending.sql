-- How far each server has been sent what happened in the rooms it is in.
CREATE TABLE federation_cursors (
    position bigint NOT NULL,
    server   text COLLATE "C" PRIMARY KEY
) WITH (fillfactor = 50);

-- The stripped state that came with invitations to rooms that this server isn't in.
CREATE TABLE invite_states (
    room_nid bigint NOT NULL,
    user_id  text COLLATE "C" NOT NULL,
    stripped text NOT NULL,
    PRIMARY KEY (room_nid, user_id)
);
