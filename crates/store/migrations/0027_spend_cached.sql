-- 27: how many calls caches of models answered, and what that saved, as costs are kept.
ALTER TABLE spend ADD COLUMN cached BIGINT NOT NULL DEFAULT 0;
ALTER TABLE spend ADD COLUMN saved_micros BIGINT NOT NULL DEFAULT 0;
ALTER TABLE spend ADD COLUMN saved_rest BIGINT NOT NULL DEFAULT 0
