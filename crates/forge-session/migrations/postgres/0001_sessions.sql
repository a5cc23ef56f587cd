-- Sessions of people and programs. Times are microseconds since the Unix epoch, UTC.
-- No secret is stored: the hashes are SHA-256 of random bits, and the salt opens nothing by itself.

-- All sessions made in one epoch end with it: to end everybody's, the next one begins.
CREATE TABLE sessions_epochs (
    epoch       BIGINT NOT NULL PRIMARY KEY,
    ended_at    BIGINT,
    ended_cause TEXT,
    CHECK ((ended_at IS NULL) = (ended_cause IS NULL))
);

INSERT INTO sessions_epochs (epoch) VALUES (0);

CREATE TABLE sessions (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    epoch               BIGINT  NOT NULL REFERENCES sessions_epochs (epoch),
    user_id             TEXT    NOT NULL,
    kind                TEXT    NOT NULL,
    client_id           TEXT,
    scopes              TEXT,
    family_hash         BYTEA   NOT NULL UNIQUE CHECK (length(family_hash) = 32),
    current_hash        BYTEA   NOT NULL CHECK (length(current_hash) = 32),
    previous_hash       BYTEA   CHECK (length(previous_hash) = 32),
    rotation_salt       BYTEA   CHECK (length(rotation_salt) = 32),
    generation          BIGINT  NOT NULL,
    created_at          BIGINT  NOT NULL,
    last_used_at        BIGINT  NOT NULL,
    rotated_at          BIGINT,
    idle_expires_at     BIGINT  NOT NULL CHECK (idle_expires_at <= absolute_expires_at),
    absolute_expires_at BIGINT  NOT NULL,
    created_ip          TEXT,
    last_ip             TEXT,
    user_agent          TEXT,
    revoked_at          BIGINT,
    revoked_cause       TEXT,
    CHECK ((revoked_at IS NULL) = (revoked_cause IS NULL)),
    CHECK ((previous_hash IS NULL) = (rotation_salt IS NULL))
);

CREATE INDEX sessions_live ON sessions (user_id, kind, created_at) WHERE revoked_at IS NULL;
CREATE INDEX sessions_expired ON sessions (idle_expires_at);
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX sessions_of_epoch ON sessions (epoch);

-- A revoked session is a tombstone: whatever a program tries, nothing brings it back.
CREATE FUNCTION sessions_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a revoked session cannot be changed';
END
$$;

CREATE TRIGGER sessions_revoked_is_final BEFORE UPDATE ON sessions
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL) EXECUTE FUNCTION sessions_is_final();

CREATE TRIGGER sessions_epoch_is_final BEFORE UPDATE ON sessions_epochs
    FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL) EXECUTE FUNCTION sessions_is_final();
