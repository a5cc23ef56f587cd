-- What was decided about whom. Times are microseconds since the Unix epoch, UTC.
CREATE TABLE monitor_decisions (
    id         TEXT    NOT NULL PRIMARY KEY,
    scenario   TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('network', 'user')),
    target     TEXT    NOT NULL,
    action     TEXT    NOT NULL CHECK (action IN ('block')),
    since      INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    escalation INTEGER NOT NULL CHECK (escalation >= 0),
    lifted_at  INTEGER
) STRICT;

CREATE INDEX monitor_decisions_until ON monitor_decisions (until);
