-- The records of a segment lie in blocks: audit_segment_<id> has a row for some records each (see
-- store/sqlite/block.rs and pack.rs). Segments of version 1 had a row for each record; they are packed
-- when the schema is brought up to this version (see store/sqlite/upgrade.rs).
--
-- Full ones once had indexes of SQLite's own: they are indexed anew.
UPDATE audit_segments SET state = 1 WHERE state = 2;
