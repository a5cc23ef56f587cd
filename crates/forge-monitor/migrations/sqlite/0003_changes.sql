-- When a decision was made or lifted here, by the clock of this machine. What could not be stored at
-- once is stored later than it was decided, and others look for what is new.
ALTER TABLE monitor_decisions ADD COLUMN changed_at INTEGER NOT NULL DEFAULT 0;
UPDATE monitor_decisions SET changed_at = coalesce(lifted_at, since);

DROP INDEX monitor_decisions_since;
DROP INDEX monitor_decisions_lifted;
CREATE INDEX monitor_decisions_changed ON monitor_decisions (changed_at);
CREATE INDEX monitor_decisions_untold ON monitor_decisions (changed_at) WHERE NOT lift_told;
