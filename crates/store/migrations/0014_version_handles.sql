-- 14: What the place that made a version calls it, so that it can be deleted there.
ALTER TABLE credential_versions ADD COLUMN handle TEXT
