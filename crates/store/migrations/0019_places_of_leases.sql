-- 0019: leases are looked at by the system they are at, so that many of a slow one stand in nobody's way; tokens are
-- found by the application they were given to. '' stands for leases of before.
ALTER TABLE leases ADD COLUMN place {text} NOT NULL DEFAULT '';
CREATE INDEX leases_by_place ON leases (place, next_attempt);
ALTER TABLE tokens ADD COLUMN application {text};
CREATE INDEX tokens_by_application ON tokens (application) WHERE application IS NOT NULL
