-- The addresses by which users are known to this server. An address belongs to one user.
CREATE TABLE threepids (
    added_at     timestamptz NOT NULL DEFAULT now(),
    validated_at timestamptz NOT NULL,
    user_id      text COLLATE "C" NOT NULL REFERENCES users,
    medium       text COLLATE "C" NOT NULL,
    address      text COLLATE "C" NOT NULL,
    PRIMARY KEY (medium, address)
);
CREATE INDEX threepids_user ON threepids (user_id);

-- E-mail addresses whose owners are being asked to confirm them, for one purpose.
CREATE TABLE email_validations (
    expires_at    timestamptz NOT NULL,
    validated_at  timestamptz,
    send_attempt  integer NOT NULL,
    purpose       text NOT NULL,
    sid           text COLLATE "C" PRIMARY KEY,
    client_secret text NOT NULL,
    address       text COLLATE "C" NOT NULL,
    token         text NOT NULL, -- what the mail holds
    next_link     text NOT NULL DEFAULT '',
    UNIQUE (address, client_secret, purpose)
);
CREATE INDEX email_validations_expires ON email_validations (expires_at);
