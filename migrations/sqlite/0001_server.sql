-- The server's own tables. Sessions, decisions and the audit log carry their schemas in their crates.
-- Times are microseconds since the Unix epoch, UTC.

-- Who may sign in, by GitHub's numeric id: a login can be renamed and given to somebody else.
CREATE TABLE allow_list (
    github_id INTEGER PRIMARY KEY CHECK (github_id > 0),
    role      TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    login     TEXT,             -- as it was when added, for people to read
    added_by  INTEGER,          -- the GitHub id of the admin; none for the configuration
    added_at  INTEGER NOT NULL
) STRICT;

-- Who has signed in.
CREATE TABLE users (
    id              TEXT PRIMARY KEY,           -- UUIDv7, bound into the sealed token
    github_id       INTEGER NOT NULL UNIQUE CHECK (github_id > 0),
    login           TEXT NOT NULL,
    name            TEXT,
    github_token    TEXT,                       -- sealed: fv1.<key id>.…
    created_at      INTEGER NOT NULL,
    last_sign_in_at INTEGER NOT NULL
) STRICT;

-- Sign-ins that have begun. The state itself is known to the browser alone.
CREATE TABLE sign_ins (
    state_hash BLOB PRIMARY KEY CHECK (length(state_hash) = 32),
    next       TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_at);

-- The keys that sign access tokens.
CREATE TABLE signing_keys (
    id         TEXT PRIMARY KEY,                -- UUIDv7, bound into the sealed key
    sealed     TEXT NOT NULL,                   -- PKCS #8, sealed: fv1.<key id>.…
    created_at INTEGER NOT NULL
) STRICT;
