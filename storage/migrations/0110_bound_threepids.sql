-- The addresses that users have published by identity servers, to be taken back when the
-- account ends.
CREATE TABLE bound_threepids (
    user_id   text COLLATE "C" NOT NULL REFERENCES users,
    medium    text COLLATE "C" NOT NULL,
    address   text COLLATE "C" NOT NULL,
    id_server text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, medium, address, id_server)
);
