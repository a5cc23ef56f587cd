-- What waits is given up at some time, and silences of other programs are told. Times are
-- microseconds since the Unix epoch, UTC.

-- Why it was given up; nothing where its sink did not take it.
ALTER TABLE monitor_deliveries ADD COLUMN reason TEXT CHECK (reason IN ('no_sink', 'too_old'));

-- What waits for a sink that none of the running monitors has.
CREATE TABLE monitor_missing_sinks (
    sink  TEXT    NOT NULL PRIMARY KEY,
    -- Since when that is known.
    since INTEGER NOT NULL
) STRICT;

-- Whether the observers know of the silence, and of its end where somebody ended it: not yet, where
-- another program did.
ALTER TABLE monitor_silences ADD COLUMN told INTEGER NOT NULL DEFAULT 1 CHECK (told IN (0, 1));
ALTER TABLE monitor_silences ADD COLUMN ended_by TEXT;
ALTER TABLE monitor_silences ADD COLUMN end_told INTEGER NOT NULL DEFAULT 1
    CHECK (end_told IN (0, 1));
