-- The audit log lies in segments, each with two tables of its own, audit_segment_<id> and
-- audit_words_<id> (see store/sqlite/segment.rs). They are filled one after the other; the index of
-- one, audit_index_<id>, is built when it is full.
CREATE TABLE audit_segments (
    id       INTEGER PRIMARY KEY,
    first    INTEGER NOT NULL,      -- the sequence of the first record
    last     INTEGER NOT NULL,      -- that of the last it has room for
    prev     BLOB    NOT NULL,      -- the hash of the record before the first
    since    INTEGER NOT NULL,      -- the time of the first record, microseconds since the epoch, UTC
    until    INTEGER,               -- that of the last, once it is full
    state    INTEGER NOT NULL       -- 0 open, 1 full, 5 sealed (with an index), 3 pruned in part, 4 gone
) STRICT;

-- The roots of the tree over each 2^8, 2^16 and 2^24 records. They are never deleted.
CREATE TABLE audit_nodes (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    hash  BLOB    NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

-- Of tiles of 256 records of which some were pruned and some not: 257 hashes, of the record before
-- the tile and of those in it.
CREATE TABLE audit_tiles (
    idx    INTEGER PRIMARY KEY,
    hashes BLOB NOT NULL
) STRICT;

CREATE TABLE audit_checkpoints (
    size INTEGER PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;

-- How many events there were in each minute.
CREATE TABLE audit_counts (
    minute   INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    outcome  INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    events   INTEGER NOT NULL,
    PRIMARY KEY (minute, kind, outcome, severity)
) STRICT, WITHOUT ROWID;
