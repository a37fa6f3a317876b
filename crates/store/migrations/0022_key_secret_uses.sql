-- 22: Who used which of a key's secrets, while a rotation waits for callers to leave the older one. Of the secret
-- that stays one row says when; of the older one there is a row for each route and network.
-- No reference to keys: a use may be written a moment after its key is gone.
CREATE TABLE key_secret_uses (
    key_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    route TEXT NOT NULL,
    source TEXT NOT NULL,
    last_time BIGINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (key_id, version, route, source)
)
