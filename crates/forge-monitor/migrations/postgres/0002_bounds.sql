-- What waits is given up at some time, and silences of other programs are told. Times are
-- microseconds since the Unix epoch, UTC.

-- Why it was given up; nothing where its sink did not take it.
ALTER TABLE monitor_deliveries ADD COLUMN reason TEXT CHECK (reason IN ('no_sink', 'too_old'));

-- What waits for a sink that none of the running nodes has.
CREATE TABLE monitor_missing_sinks (
    sink  TEXT   NOT NULL PRIMARY KEY,
    -- Since when that is known.
    since BIGINT NOT NULL
);

-- Whether the observers know of the silence, and of its end where somebody ended it: not yet, where
-- another program did.
ALTER TABLE monitor_silences ADD COLUMN told BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE monitor_silences ADD COLUMN ended_by TEXT;
ALTER TABLE monitor_silences ADD COLUMN end_told BOOLEAN NOT NULL DEFAULT TRUE;
