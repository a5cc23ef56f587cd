-- What was decided about whom, alerts on their way, and what nobody wants to hear, for several
-- nodes. Times are microseconds since the Unix epoch, UTC.
CREATE TABLE monitor_decisions (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    scenario   TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('network', 'user')),
    target     TEXT    NOT NULL,
    action     TEXT    NOT NULL
        CHECK (action IN ('block', 'revoke_sessions', 'tighten_limit', 'require_sign_in')),
    since      BIGINT  NOT NULL,
    until      BIGINT  NOT NULL,
    escalation BIGINT  NOT NULL CHECK (escalation >= 0),
    lifted_at  BIGINT,
    lifted_by  TEXT,
    -- Whether the observers know: not yet, where another process lifted it.
    lift_told  BOOLEAN NOT NULL DEFAULT TRUE,
    -- When it was made or lifted here, by the clock of the database. What could not be stored at
    -- once is stored later than it was decided, and others look for what is new.
    changed_at BIGINT  NOT NULL
);

CREATE INDEX monitor_decisions_until ON monitor_decisions (until);
CREATE INDEX monitor_decisions_changed ON monitor_decisions (changed_at);
CREATE INDEX monitor_decisions_untold ON monitor_decisions (changed_at) WHERE NOT lift_told;

-- One alert on its way to one sink; one node at a time has it in its hands.
CREATE TABLE monitor_deliveries (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sink         TEXT   NOT NULL,
    -- JSON.
    alert        TEXT   NOT NULL,
    created      BIGINT NOT NULL,
    due          BIGINT NOT NULL,
    attempts     BIGINT NOT NULL CHECK (attempts >= 0),
    -- Nobody else tries it until then.
    leased_until BIGINT,
    state        TEXT   NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'delivered', 'dead')),
    settled_at   BIGINT
);

CREATE INDEX monitor_deliveries_due ON monitor_deliveries (sink, due, id) WHERE state = 'waiting';
CREATE INDEX monitor_deliveries_settled ON monitor_deliveries (settled_at)
    WHERE state <> 'waiting';
CREATE INDEX monitor_deliveries_dead ON monitor_deliveries (state) WHERE state = 'dead';

-- What nobody wants to hear for a time.
CREATE TABLE monitor_silences (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    scenario TEXT   NOT NULL,
    scope    TEXT   NOT NULL,
    since    BIGINT NOT NULL,
    until    BIGINT NOT NULL,
    made_by  TEXT   NOT NULL,
    comment  TEXT   NOT NULL
);

-- Every node hears at once that something was decided, lifted or silenced, by whatever program. What
-- is told is the schema, since a channel is one for the whole database; what it was, the node reads.
CREATE FUNCTION monitor_tell_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('forge_monitor_changed', TG_TABLE_SCHEMA);
    RETURN NULL;
END
$$;

CREATE TRIGGER monitor_decision_is_told AFTER INSERT OR UPDATE OF lifted_at ON monitor_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION monitor_tell_change();

CREATE TRIGGER monitor_silence_is_told AFTER INSERT OR UPDATE OF until ON monitor_silences
    FOR EACH STATEMENT EXECUTE FUNCTION monitor_tell_change();
