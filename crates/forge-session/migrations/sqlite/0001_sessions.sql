-- Sessions of people and programs. Times are microseconds since the Unix epoch, UTC.
-- No secret is stored: the hashes are SHA-256 of 256 random bits.
CREATE TABLE sessions (
    id                  TEXT    NOT NULL PRIMARY KEY,
    user_id             TEXT    NOT NULL,
    kind                TEXT    NOT NULL,
    client_id           TEXT,
    current_hash        BLOB    NOT NULL UNIQUE CHECK (length(current_hash) = 32),
    previous_hash       BLOB    UNIQUE CHECK (length(previous_hash) = 32),
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
    CHECK ((revoked_at IS NULL) = (revoked_cause IS NULL))
) STRICT;

CREATE INDEX sessions_live ON sessions (user_id, kind, created_at) WHERE revoked_at IS NULL;
CREATE INDEX sessions_expired ON sessions (idle_expires_at);
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- A revoked session is a tombstone: whatever a program tries, nothing brings it back.
CREATE TRIGGER sessions_revoked_is_final BEFORE UPDATE ON sessions WHEN OLD.revoked_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a revoked session cannot be changed');
END;
