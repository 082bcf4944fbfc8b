-- The room in which a user gets notices from the server.
CREATE TABLE server_notice_rooms (
    user_id text COLLATE "C" PRIMARY KEY,
    room_id text COLLATE "C" NOT NULL
);
