-- What an event means to those whose own push rules say otherwise than the default
-- ones, which events.notifies and highlights stand for.
CREATE TABLE push_exceptions (
    room_nid   bigint NOT NULL,
    position   bigint NOT NULL,
    notifies   boolean NOT NULL,
    highlights boolean NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_nid, user_id, position)
);
-- Everybody with push rules of their own.
CREATE INDEX account_data_push_rules ON account_data (user_id) WHERE type = 'm.push_rules' AND room_id = '';
