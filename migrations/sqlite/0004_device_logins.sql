-- Sign-ins from a terminal that are under way (RFC 8628). Of the code that the terminal polls with
-- a hash is kept, and GitHub's code sealed.
CREATE TABLE device_logins (
    id           TEXT PRIMARY KEY,              -- UUIDv7, bound into the sealed code
    code_hash    BLOB NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    client       TEXT NOT NULL,
    github_code  TEXT NOT NULL,                 -- sealed: fv1.<key id>.…
    pause        INTEGER NOT NULL,              -- between two polls, in microseconds
    next_poll_at INTEGER NOT NULL,
    ends_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX device_logins_by_end ON device_logins (ends_at);
