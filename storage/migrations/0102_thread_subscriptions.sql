-- Which threads users want to hear of, and of which they do no more; position is of the
-- last change.
CREATE TABLE thread_subscriptions (
    position   bigint NOT NULL,
    room_nid   bigint NOT NULL,
    subscribed boolean NOT NULL,
    automatic  boolean NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    thread_id  text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, room_nid, thread_id)
) WITH (fillfactor = 80);
-- What a user changed since a position.
CREATE INDEX thread_subscriptions_changes ON thread_subscriptions (user_id, position);
-- Who wants to hear of a thread.
CREATE INDEX thread_subscriptions_thread ON thread_subscriptions (room_nid, thread_id) WHERE subscribed;
