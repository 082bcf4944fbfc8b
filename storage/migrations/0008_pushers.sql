-- Where users want to be notified. position is how far in the stream the pusher has
-- been told. A pusher goes with the device that made it.
CREATE TABLE pushers (
    position            bigint NOT NULL,
    changed_at          timestamptz NOT NULL DEFAULT now(),
    user_id             text COLLATE "C" NOT NULL,
    device_id           text COLLATE "C" NOT NULL,
    app_id              text COLLATE "C" NOT NULL,
    pushkey             text COLLATE "C" NOT NULL,
    app_display_name    text NOT NULL,
    device_display_name text NOT NULL,
    profile_tag         text NOT NULL,
    lang                text NOT NULL,
    data                text NOT NULL,
    PRIMARY KEY (user_id, app_id, pushkey),
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
) WITH (fillfactor = 60);
-- The pushers of other users with the same key, and those of a device.
CREATE INDEX pushers_pushkey ON pushers (app_id, pushkey);
CREATE INDEX pushers_device ON pushers (user_id, device_id);
