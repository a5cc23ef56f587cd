-- The server's own tables. Sessions and the audit log carry their schemas in their crates.
-- Times are microseconds since the Unix epoch, UTC.

-- Who may sign in, by GitHub's numeric id: a login can be renamed and given to somebody else.
CREATE TABLE allow_list (
    github_id BIGINT PRIMARY KEY CHECK (github_id > 0),
    role      TEXT   NOT NULL CHECK (role IN ('user', 'admin')),
    login     TEXT,             -- as it was when added, for people to read
    added_by  BIGINT,           -- the GitHub id of the admin; none for the configuration
    added_at  BIGINT NOT NULL
);

-- Who has signed in.
CREATE TABLE users (
    id                      TEXT COLLATE "C" PRIMARY KEY,   -- UUIDv7, bound into the sealed token
    github_id               BIGINT NOT NULL UNIQUE CHECK (github_id > 0),
    login                   TEXT   NOT NULL,
    name                    TEXT,
    github_token            TEXT,                           -- sealed: fv1.<key id>.…
    github_token_expires_at BIGINT,                         -- none where it never does
    created_at              BIGINT NOT NULL,
    last_sign_in_at         BIGINT NOT NULL
);

-- Sign-ins that have begun. The state itself is known to the browser alone.
CREATE TABLE sign_ins (
    state_hash BYTEA  PRIMARY KEY CHECK (length(state_hash) = 32),
    next       TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_at);

-- Who is in through an organisation or a team, besides those on the allow-list.
CREATE TABLE memberships (
    github_id   BIGINT PRIMARY KEY CHECK (github_id > 0),
    through     TEXT   NOT NULL,    -- `organisation` or `organisation/team`, as configured
    verified_at BIGINT NOT NULL,    -- when GitHub last said so
    asked_at    BIGINT NOT NULL     -- when GitHub was last asked
);

CREATE INDEX memberships_by_asked ON memberships (asked_at);

-- What the configured names stand for, once resolved: a name can be taken by somebody else.
CREATE TABLE github_groups (
    name        TEXT   PRIMARY KEY,
    github_id   BIGINT NOT NULL CHECK (github_id > 0),
    resolved_at BIGINT NOT NULL
);

-- The keys that sign access tokens.
CREATE TABLE signing_keys (
    id         TEXT COLLATE "C" PRIMARY KEY,                -- UUIDv7, bound into the sealed key
    sealed     TEXT   NOT NULL,                             -- PKCS #8, sealed: fv1.<key id>.…
    created_at BIGINT NOT NULL
);

-- Sign-ins from a terminal that are under way (RFC 8628). Of the code that the terminal polls with
-- a hash is kept, and GitHub's code sealed.
CREATE TABLE device_logins (
    id           TEXT COLLATE "C" PRIMARY KEY,              -- UUIDv7, bound into the sealed code
    code_hash    BYTEA  NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    client       TEXT   NOT NULL,
    github_code  TEXT   NOT NULL,                           -- sealed: fv1.<key id>.…
    pause        BIGINT NOT NULL,                           -- between two polls, in microseconds
    next_poll_at BIGINT NOT NULL,
    ends_at      BIGINT NOT NULL
);

CREATE INDEX device_logins_by_end ON device_logins (ends_at);
