-- 34: when the provider of a file forgets it, by this database's clock; 0 where it never does. It is forgotten here then, too.
ALTER TABLE model_objects ADD COLUMN expires BIGINT NOT NULL DEFAULT 0;

CREATE INDEX model_objects_by_expiry ON model_objects (expires) WHERE expires > 0
