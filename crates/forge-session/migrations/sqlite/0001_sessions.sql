-- Sessions of people and programs. Times are microseconds since the Unix epoch, UTC.
-- No secret is stored: the hashes are SHA-256 of random bits, and the salt opens nothing by itself.

-- All sessions made in one epoch end with it: to end everybody's, the next one begins.
CREATE TABLE sessions_epochs (
    epoch       INTEGER NOT NULL PRIMARY KEY,
    ended_at    INTEGER,
    ended_cause TEXT,
    CHECK ((ended_at IS NULL) = (ended_cause IS NULL))
) STRICT;

INSERT INTO sessions_epochs (epoch) VALUES (0);

CREATE TABLE sessions (
    id                  TEXT    NOT NULL PRIMARY KEY,
    epoch               INTEGER NOT NULL REFERENCES sessions_epochs (epoch),
    user_id             TEXT    NOT NULL,
    kind                TEXT    NOT NULL,
    client_id           TEXT,
    scopes              TEXT,
    family_hash         BLOB    NOT NULL UNIQUE CHECK (length(family_hash) = 32),
    current_hash        BLOB    NOT NULL CHECK (length(current_hash) = 32),
    previous_hash       BLOB    CHECK (length(previous_hash) = 32),
    rotation_salt       BLOB    CHECK (length(rotation_salt) = 32),
    generation          INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    last_used_at        INTEGER NOT NULL,
    rotated_at          INTEGER,
    idle_expires_at     INTEGER NOT NULL CHECK (idle_expires_at <= absolute_expires_at),
    absolute_expires_at INTEGER NOT NULL,
    created_ip          TEXT,
    last_ip             TEXT,
    user_agent          TEXT,
    revoked_at          INTEGER,
    revoked_cause       TEXT,
    CHECK ((revoked_at IS NULL) = (revoked_cause IS NULL)),
    CHECK ((previous_hash IS NULL) = (rotation_salt IS NULL))
) STRICT;

CREATE INDEX sessions_live ON sessions (user_id, kind, created_at) WHERE revoked_at IS NULL;
CREATE INDEX sessions_expired ON sessions (idle_expires_at);
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX sessions_of_epoch ON sessions (epoch);

-- A revoked session is a tombstone: whatever a program tries, nothing brings it back.
CREATE TRIGGER sessions_revoked_is_final BEFORE UPDATE ON sessions WHEN OLD.revoked_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a revoked session cannot be changed');
END;

CREATE TRIGGER sessions_epoch_is_final BEFORE UPDATE ON sessions_epochs WHEN OLD.ended_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'an epoch that has ended cannot be changed');
END;
