-- Events that are to be sent later, and for a while what became of them.
CREATE TABLE delayed_events (
    scheduled_at timestamptz NOT NULL, -- or restarted
    due_at       timestamptz NOT NULL, -- when it is tried next
    finalised_at timestamptz,          -- sent, failed or cancelled
    delay_ms     bigint NOT NULL,
    delay_id     text COLLATE "C" PRIMARY KEY,
    request      bytea UNIQUE,         -- the request that asked for it, if it can be repeated
    user_id      text COLLATE "C" NOT NULL REFERENCES users,
    room_id      text COLLATE "C" NOT NULL,
    type         text COLLATE "C" NOT NULL,
    state_key    text COLLATE "C",
    content      text NOT NULL,
    event_id     text COLLATE "C" NOT NULL DEFAULT '', -- what was sent
    error        text NOT NULL DEFAULT ''              -- why it wasn't, as JSON
) WITH (fillfactor = 80);
-- The next to send.
CREATE INDEX delayed_events_due ON delayed_events (due_at) WHERE finalised_at IS NULL;
-- What a user has scheduled.
CREATE INDEX delayed_events_user ON delayed_events (user_id, due_at) WHERE finalised_at IS NULL;
-- What became of a user's.
CREATE INDEX delayed_events_past ON delayed_events (user_id, finalised_at) WHERE finalised_at IS NOT NULL;
-- What is old enough to forget.
CREATE INDEX delayed_events_age ON delayed_events (finalised_at) WHERE finalised_at IS NOT NULL;
