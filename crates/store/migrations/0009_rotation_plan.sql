-- 9: Rotations that wait for somebody, and when each credential's next rotation begins by itself.
ALTER TABLE rotations ADD COLUMN waiting BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rotations ADD COLUMN again BIGINT;
CREATE INDEX rotations_unfinished ON rotations (waiting, started, id) WHERE finished = 0;

-- The smallest number there is stands for: to be planned anew.
CREATE TABLE rotation_plan (
    credential TEXT NOT NULL PRIMARY KEY,
    due BIGINT NOT NULL
);
CREATE INDEX rotation_plan_by_due ON rotation_plan (due, credential);
INSERT INTO rotation_plan (credential, due)
    SELECT name, -9223372036854775807 - 1 FROM resources WHERE kind = 'credentials'
