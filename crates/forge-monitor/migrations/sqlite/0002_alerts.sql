-- More can be decided than a block, a decision says who lifted it, and alerts wait here until each
-- sink has them. Times are microseconds since the Unix epoch, UTC.
CREATE TABLE monitor_decisions_next (
    id         TEXT    NOT NULL PRIMARY KEY,
    scenario   TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('network', 'user')),
    target     TEXT    NOT NULL,
    action     TEXT    NOT NULL
        CHECK (action IN ('block', 'revoke_sessions', 'tighten_limit', 'require_sign_in')),
    since      INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    escalation INTEGER NOT NULL CHECK (escalation >= 0),
    lifted_at  INTEGER,
    lifted_by  TEXT,
    -- Whether the observers know: not yet, where another process lifted it.
    lift_told  INTEGER NOT NULL DEFAULT 1 CHECK (lift_told IN (0, 1))
) STRICT;

INSERT INTO monitor_decisions_next
    (id, scenario, kind, target, action, since, until, escalation, lifted_at)
SELECT id, scenario, kind, target, action, since, until, escalation, lifted_at
FROM monitor_decisions;

DROP TABLE monitor_decisions;
ALTER TABLE monitor_decisions_next RENAME TO monitor_decisions;

CREATE INDEX monitor_decisions_until ON monitor_decisions (until);
CREATE INDEX monitor_decisions_since ON monitor_decisions (since);
CREATE INDEX monitor_decisions_lifted ON monitor_decisions (lifted_at) WHERE lifted_at IS NOT NULL;

-- One alert on its way to one sink.
CREATE TABLE monitor_deliveries (
    id           TEXT    NOT NULL PRIMARY KEY,
    sink         TEXT    NOT NULL,
    -- JSON.
    alert        TEXT    NOT NULL,
    created      INTEGER NOT NULL,
    due          INTEGER NOT NULL,
    attempts     INTEGER NOT NULL CHECK (attempts >= 0),
    -- Nobody else tries it until then.
    leased_until INTEGER,
    state        TEXT    NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'delivered', 'dead')),
    settled_at   INTEGER
) STRICT;

CREATE INDEX monitor_deliveries_due ON monitor_deliveries (sink, due, id) WHERE state = 'waiting';
CREATE INDEX monitor_deliveries_settled ON monitor_deliveries (settled_at)
    WHERE state <> 'waiting';
CREATE INDEX monitor_deliveries_dead ON monitor_deliveries (state) WHERE state = 'dead';

-- What nobody wants to hear for a time.
CREATE TABLE monitor_silences (
    id       TEXT    NOT NULL PRIMARY KEY,
    scenario TEXT    NOT NULL,
    scope    TEXT    NOT NULL,
    since    INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    made_by  TEXT    NOT NULL,
    comment  TEXT    NOT NULL
) STRICT;
