-- Audit logs of several nodes, each a chain of its own. Times are microseconds since the Unix epoch,
-- UTC. Whoever appends cannot change what is there; whoever owns the tables can, and the chains and
-- their checkpoints show it.

-- The logs, each with its end. Appending moves the end by compare-and-set, which makes the writers
-- of one log wait for each other; those of different logs do not.
CREATE TABLE audit_logs (
    id     INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin TEXT COLLATE "C" NOT NULL UNIQUE,
    seq    BIGINT NOT NULL DEFAULT 0,
    hash   BYTEA  NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(hash) = 32),
    time   BIGINT NOT NULL DEFAULT 0
);

-- A partition a log, and in it one for each stretch of it, which is a stretch of time: what is over
-- goes with its partition.
CREATE TABLE audit_records (
    log        INTEGER  NOT NULL,
    seq        BIGINT   NOT NULL,
    time       BIGINT   NOT NULL,
    occurred   BIGINT   NOT NULL,
    prev       BYTEA    NOT NULL,
    hash       BYTEA    NOT NULL,
    salt       BYTEA    NOT NULL,           -- 16 bytes; the commitment, of 32, where it was erased
    kind       SMALLINT NOT NULL,
    outcome    SMALLINT NOT NULL,
    severity   SMALLINT NOT NULL,
    action     TEXT COLLATE "C" NOT NULL,
    actor      TEXT COLLATE "C",
    login      TEXT COLLATE "C",
    session    TEXT COLLATE "C",
    address    BYTEA,
    agent      TEXT COLLATE "C",
    resource   TEXT COLLATE "C",
    request_id TEXT COLLATE "C",
    details    TEXT COLLATE "C",
    PRIMARY KEY (log, seq)
) PARTITION BY LIST (log);

CREATE INDEX audit_records_by_time ON audit_records (log, time, seq);
CREATE INDEX audit_records_by_actor ON audit_records (log, actor, seq) WHERE actor IS NOT NULL;
CREATE INDEX audit_records_by_address ON audit_records (log, address, seq) WHERE address IS NOT NULL;
CREATE INDEX audit_records_by_resource ON audit_records (log, resource, seq) WHERE resource IS NOT NULL;
CREATE INDEX audit_records_by_request ON audit_records (log, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX audit_records_by_action ON audit_records (log, action, seq);

-- The stretches that have a partition.
CREATE TABLE audit_segments (
    log   INTEGER NOT NULL REFERENCES audit_logs (id),
    first BIGINT  NOT NULL,
    last  BIGINT  NOT NULL,
    PRIMARY KEY (log, first)
);

-- Nodes of the trees at the levels 8, 16 and 24.
CREATE TABLE audit_nodes (
    log   INTEGER  NOT NULL,
    level SMALLINT NOT NULL,
    idx   BIGINT   NOT NULL,
    hash  BYTEA    NOT NULL,
    PRIMARY KEY (log, level, idx)
);

-- The hashes of the 256 records of a tile that was pruned in part.
CREATE TABLE audit_tiles (
    log    INTEGER NOT NULL,
    idx    BIGINT  NOT NULL,
    hashes BYTEA   NOT NULL,
    PRIMARY KEY (log, idx)
);

CREATE TABLE audit_checkpoints (
    log  INTEGER NOT NULL,
    size BIGINT  NOT NULL,
    text TEXT    NOT NULL,
    PRIMARY KEY (log, size)
);

CREATE TABLE audit_counts (
    log      INTEGER  NOT NULL,
    minute   BIGINT   NOT NULL,
    kind     SMALLINT NOT NULL,
    outcome  SMALLINT NOT NULL,
    severity SMALLINT NOT NULL,
    events   BIGINT   NOT NULL,
    PRIMARY KEY (log, minute, kind, outcome, severity)
);

-- All logs as one, for whoever looks with a tool of the database's.
CREATE VIEW audit_merged AS
    SELECT origin, audit_records.* FROM audit_records JOIN audit_logs ON audit_logs.id = log;

-- What follows stops mistakes, and whoever may only append.

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an audit log is only appended to';
END
$$;

CREATE TRIGGER audit_records_stay BEFORE UPDATE OR DELETE ON audit_records FOR EACH ROW
    WHEN (current_setting('forge_audit.forgets', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION audit_refuse();

CREATE TRIGGER audit_logs_only_grow BEFORE UPDATE ON audit_logs FOR EACH ROW
    WHEN (NEW.seq <= OLD.seq OR NEW.time < OLD.time OR NEW.id <> OLD.id OR NEW.origin <> OLD.origin)
    EXECUTE FUNCTION audit_refuse();

CREATE TRIGGER audit_checkpoints_stay BEFORE UPDATE OR DELETE ON audit_checkpoints FOR EACH ROW
    EXECUTE FUNCTION audit_refuse();

-- The log of that origin, made if there is none. Runs as the owner of the tables.
CREATE FUNCTION audit_open(wanted TEXT) RETURNS INTEGER LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    found INTEGER;
BEGIN
    SELECT id INTO found FROM audit_logs WHERE origin = wanted;
    IF found IS NULL THEN
        IF length(wanted) NOT BETWEEN 1 AND 255 THEN
            RAISE EXCEPTION 'an origin has 1 to 255 characters';
        END IF;
        -- One at a time, of those who make one.
        LOCK TABLE audit_logs IN SHARE ROW EXCLUSIVE MODE;
        SELECT id INTO found FROM audit_logs WHERE origin = wanted;
    END IF;
    IF found IS NULL THEN
        INSERT INTO audit_logs (origin) VALUES (wanted) RETURNING id INTO found;
        EXECUTE format('CREATE TABLE audit_records_%s PARTITION OF audit_records '
            'FOR VALUES IN (%s) PARTITION BY RANGE (seq)', found, found);
    END IF;
    RETURN found;
END
$$;

-- The partition for a stretch of a log, made if there is none. Runs as the owner of the tables.
CREATE FUNCTION audit_make_segment(of INTEGER, from_seq BIGINT, to_seq BIGINT) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    part TEXT := format('audit_records_%s_%s', of, from_seq);
BEGIN
    IF from_seq % 256 <> 1 OR to_seq % 256 <> 0 OR to_seq - from_seq NOT BETWEEN 255 AND 16777215 THEN
        RAISE EXCEPTION 'not a stretch of a log';
    END IF;
    IF EXISTS (SELECT 1 FROM audit_segments WHERE log = of AND first = from_seq) THEN
        RETURN;
    END IF;
    INSERT INTO audit_segments (log, first, last) VALUES (of, from_seq, to_seq);
    -- Attaching waits for nobody who reads, as making it in its place would.
    EXECUTE format('CREATE TABLE %I (LIKE audit_records_%s INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
        'INCLUDING INDEXES INCLUDING STORAGE)', part, of);
    EXECUTE format('ALTER TABLE audit_records_%s ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
        of, part, from_seq, to_seq + 1);
END
$$;

-- Lets a role append to logs and read them, and nothing else.
CREATE FUNCTION audit_grant_append(who NAME) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), who);
    EXECUTE format('GRANT SELECT ON audit_logs, audit_records, audit_segments, audit_nodes, audit_tiles, '
        'audit_checkpoints, audit_counts, audit_merged TO %I', who);
    EXECUTE format('GRANT UPDATE (seq, hash, time) ON audit_logs TO %I', who);
    EXECUTE format('GRANT INSERT ON audit_records, audit_nodes, audit_checkpoints, audit_counts TO %I', who);
    EXECUTE format('GRANT UPDATE (events) ON audit_counts TO %I', who);
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit_open(TEXT), '
        'audit_make_segment(INTEGER, BIGINT, BIGINT) TO %I', who);
END
$$;

REVOKE ALL ON FUNCTION audit_open(TEXT), audit_make_segment(INTEGER, BIGINT, BIGINT),
    audit_grant_append(NAME) FROM PUBLIC;

-- What runs as the owner finds the owner's tables, whatever the caller's search path is.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION audit_open(TEXT) SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION audit_make_segment(INTEGER, BIGINT, BIGINT) '
        'SET search_path = %I, pg_temp', current_schema());
END
$$;
