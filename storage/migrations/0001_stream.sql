-- The stream: one counter, drawn under its row lock by the transaction that
-- writes the rows, so that positions become visible in their order.
CREATE TABLE stream_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO stream_head (position) VALUES (0);

-- Numbers for rooms, events and snapshots are handed out by the process in
-- blocks, so that rows can refer to one another before any is written.
CREATE SEQUENCE nids AS bigint INCREMENT BY 1024;

-- One row per room; version is the number of the last event written, and a writer
-- that was overtaken finds its expected version gone.
CREATE TABLE rooms (
    nid                 bigint PRIMARY KEY,
    room_id             text COLLATE "C" NOT NULL UNIQUE,
    room_version        text NOT NULL,
    version             bigint NOT NULL,
    latest_position     bigint NOT NULL DEFAULT 0,
    depth               bigint NOT NULL,
    forward_extremities text[] NOT NULL,
    snapshot_nid        bigint NOT NULL
) WITH (fillfactor = 40);

-- One row per event. (position, sub) is its place in the timeline: a live event
-- is (p, 0), one backfilled before it (p, -1), (p, -2) ...; an outlier has none.
-- snapshot_nid is the state before the event.
CREATE TABLE events (
    nid          bigint PRIMARY KEY,
    room_nid     bigint NOT NULL,
    position     bigint,
    snapshot_nid bigint,
    replaces_nid bigint,
    depth        bigint NOT NULL,
    origin_ts    bigint NOT NULL,
    txn_key      uuid,
    sub          integer NOT NULL DEFAULT 0,
    flags        smallint NOT NULL DEFAULT 0, -- 1 outlier, 2 rejected, 4 soft-failed
    notifies     boolean NOT NULL DEFAULT false,
    event_id     text COLLATE "C" NOT NULL,
    type         text COLLATE "C" NOT NULL,
    state_key    text COLLATE "C",
    sender       text COLLATE "C" NOT NULL,
    redacted_by  text COLLATE "C",
    txn_device   text COLLATE "C",
    txn_id       text COLLATE "C",
    json         text NOT NULL
);
-- An event by its id.
CREATE UNIQUE INDEX events_event_id ON events (event_id);
-- /sync and /messages; with notifies, counting unread events reads the index alone.
CREATE INDEX events_timeline ON events (room_nid, position, sub) INCLUDE (notifies) WHERE position IS NOT NULL;
-- Followers of the whole stream.
CREATE INDEX events_stream ON events (position) WHERE position IS NOT NULL;
-- The history of one piece of state: memberships, history visibility.
CREATE INDEX events_state ON events (room_nid, type, state_key, position) WHERE state_key IS NOT NULL;
-- A repeated transaction id.
CREATE UNIQUE INDEX events_txn ON events (txn_key) WHERE txn_key IS NOT NULL;

-- State as a chain of deltas: event_nids replaces what the parent has for the
-- same (type, state_key). depth d's parent is at depth d minus its lowest set
-- bit, so a chain of n changes is read in at most log2(n)+1 rows.
CREATE TABLE state_snapshots (
    nid        bigint PRIMARY KEY,
    room_nid   bigint NOT NULL,
    parent_nid bigint,
    depth      bigint NOT NULL,
    event_nids bigint[] NOT NULL
);

-- The room's state after its forward extremities. position is that of the
-- change that made the entry current.
CREATE TABLE current_state (
    room_nid  bigint NOT NULL,
    event_nid bigint NOT NULL,
    position  bigint NOT NULL,
    type      text COLLATE "C" NOT NULL,
    state_key text COLLATE "C" NOT NULL,
    event_id  text COLLATE "C" NOT NULL,
    membership text COLLATE "C",
    PRIMARY KEY (room_nid, type, state_key)
);
-- What changed in a room since a position.
CREATE INDEX current_state_changes ON current_state (room_nid, position);

-- The latest membership of each user this server knows in each room, of rooms
-- it has left as well.
CREATE TABLE memberships (
    room_nid   bigint NOT NULL,
    event_nid  bigint NOT NULL,
    position   bigint NOT NULL,
    forgotten  boolean NOT NULL DEFAULT false,
    user_id    text COLLATE "C" NOT NULL,
    membership text COLLATE "C" NOT NULL,
    sender     text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_nid, user_id)
);
-- A user's rooms.
CREATE INDEX memberships_user ON memberships (user_id, room_nid);

-- Events that concern one user (or, with an empty user_id, everyone in the
-- room) more than others: mentions.
CREATE TABLE highlights (
    room_nid bigint NOT NULL,
    position bigint NOT NULL,
    user_id  text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_nid, user_id, position)
);

CREATE TABLE receipts (
    room_nid     bigint NOT NULL,
    position     bigint NOT NULL,
    ts           bigint NOT NULL,
    event_position bigint NOT NULL, -- the place of the event in the timeline
    user_id      text COLLATE "C" NOT NULL,
    receipt_type text COLLATE "C" NOT NULL,
    thread_id    text COLLATE "C" NOT NULL DEFAULT '', -- '' is an unthreaded receipt
    event_id     text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_nid, user_id, receipt_type, thread_id)
) WITH (fillfactor = 70);
-- What was read in a room since a position.
CREATE INDEX receipts_changes ON receipts (room_nid, position);

CREATE TABLE account_data (
    position bigint NOT NULL,
    user_id  text COLLATE "C" NOT NULL,
    room_id  text COLLATE "C" NOT NULL DEFAULT '', -- '' is global
    type     text COLLATE "C" NOT NULL,
    content  text NOT NULL,
    PRIMARY KEY (user_id, room_id, type)
) WITH (fillfactor = 70);
-- What a user changed since a position.
CREATE INDEX account_data_changes ON account_data (user_id, position);

CREATE TABLE presence (
    user_id        text COLLATE "C" PRIMARY KEY,
    position       bigint NOT NULL,
    last_active_ts bigint NOT NULL,
    state          text NOT NULL, -- online, unavailable, offline
    status_msg     text NOT NULL
) WITH (fillfactor = 50);
-- Who changed since a position.
CREATE INDEX presence_changes ON presence (position);

-- What the room directory shows, kept beside the state it is made from so that
-- listing thousands of rooms reads one row each.
CREATE TABLE room_summaries (
    room_nid           bigint PRIMARY KEY,
    joined_members     integer NOT NULL,
    invited_members    integer NOT NULL,
    guest_can_join     boolean NOT NULL,
    published          boolean NOT NULL DEFAULT false,
    name               text NOT NULL,
    topic              text NOT NULL,
    canonical_alias    text NOT NULL,
    avatar_url         text NOT NULL,
    join_rule          text NOT NULL,
    room_type          text NOT NULL,
    history_visibility text NOT NULL,
    encryption         text NOT NULL
) WITH (fillfactor = 70);
-- The published rooms, biggest first.
CREATE INDEX room_summaries_published ON room_summaries (joined_members DESC, room_nid) WHERE published;

CREATE TABLE room_aliases (
    alias      text COLLATE "C" PRIMARY KEY,
    room_nid   bigint NOT NULL,
    creator    text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- A room's aliases.
CREATE INDEX room_aliases_room ON room_aliases (room_nid);
