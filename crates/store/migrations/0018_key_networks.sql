-- 18: from which networks each key was used, for quarantines; since when that is written down, and when a node last could
-- not. No reference to keys: a use may be written a moment after its key is gone.
CREATE TABLE key_networks (
    key_id BIGINT NOT NULL,
    network {text} NOT NULL,
    last_time BIGINT NOT NULL,
    PRIMARY KEY (key_id, network)
);
CREATE INDEX key_networks_by_time ON key_networks (last_time);

ALTER TABLE head ADD COLUMN networks_lost BIGINT NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN networks_since BIGINT NOT NULL DEFAULT 0;
UPDATE head SET networks_since = {now}
