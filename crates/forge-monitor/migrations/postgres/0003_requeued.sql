-- Deliveries that another program lets wait again are told. Times are microseconds since the Unix
-- epoch, UTC.

-- When that was and who did it; nothing once the observers know.
ALTER TABLE monitor_deliveries ADD COLUMN requeued_at BIGINT;
ALTER TABLE monitor_deliveries ADD COLUMN requeued_by TEXT;
CREATE INDEX monitor_deliveries_requeued ON monitor_deliveries (requeued_at)
    WHERE requeued_by IS NOT NULL;
