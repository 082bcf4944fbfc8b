-- A device that nobody uses and that takes messages for its user's next login, at most
-- one for each; it is a row in devices like any other.
CREATE TABLE dehydrated_devices (
    user_id   text COLLATE "C" PRIMARY KEY,
    device_id text COLLATE "C" NOT NULL,
    data      text NOT NULL, -- the device itself, which only its user can decrypt
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
);
