-- The audit log. `event` holds the canonical bytes that the hash covers; the columns after it
-- repeat parts of them to be searched and read, and are checked against them.
CREATE TABLE audit_records (
    seq        INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,            -- microseconds since the epoch, UTC, never decreasing
    occurred   INTEGER NOT NULL,            -- the same, as the clock had it
    prev       BLOB    NOT NULL CHECK (length(prev) = 32),
    hash       BLOB    NOT NULL CHECK (length(hash) = 32),
    event      BLOB    NOT NULL,
    kind       TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    severity   INTEGER NOT NULL,            -- 1 low, 2 medium, 3 high, 4 critical
    actor      TEXT,
    address    TEXT,
    resource   TEXT,
    request_id TEXT
) STRICT;

-- An index ends with the sequence, the rowid, by which every query is ordered.
CREATE INDEX audit_records_by_time       ON audit_records (time);
CREATE INDEX audit_records_by_kind       ON audit_records (kind);
CREATE INDEX audit_records_by_action     ON audit_records (action);
CREATE INDEX audit_records_by_actor      ON audit_records (actor)      WHERE actor      IS NOT NULL;
CREATE INDEX audit_records_by_address    ON audit_records (address)    WHERE address    IS NOT NULL;
CREATE INDEX audit_records_by_request_id ON audit_records (request_id) WHERE request_id IS NOT NULL;

-- Append-only. INSERT OR REPLACE would delete without firing a trigger, so that a record may only
-- be inserted at the end.
CREATE TRIGGER audit_records_no_update BEFORE UPDATE ON audit_records
BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END;

CREATE TRIGGER audit_records_no_delete BEFORE DELETE ON audit_records
BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END;

CREATE TRIGGER audit_records_only_at_the_end BEFORE INSERT ON audit_records
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit_records)
BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END;
