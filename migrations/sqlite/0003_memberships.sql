-- Who is in through an organisation or a team, besides those on the allow-list.
CREATE TABLE memberships (
    github_id   INTEGER PRIMARY KEY CHECK (github_id > 0),
    through     TEXT NOT NULL,      -- `organisation` or `organisation/team`, as configured
    verified_at INTEGER NOT NULL,   -- when GitHub last said so
    asked_at    INTEGER NOT NULL    -- when GitHub was last asked
) STRICT;

CREATE INDEX memberships_by_asked ON memberships (asked_at);

-- What the configured names stand for, once resolved: a name can be taken by somebody else.
CREATE TABLE github_groups (
    name        TEXT PRIMARY KEY,
    github_id   INTEGER NOT NULL CHECK (github_id > 0),
    resolved_at INTEGER NOT NULL
) STRICT;
