-- Keys we issue: only keyed hashes of their secrets are here.
CREATE TABLE keys (
    id {rowkey},
    name TEXT NOT NULL UNIQUE,
    application TEXT NOT NULL,
    created BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX keys_by_application ON keys (application);

CREATE TABLE key_secrets (
    key_id BIGINT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    hash {blob} NOT NULL,
    pepper_id BIGINT NOT NULL,
    created BIGINT NOT NULL,
    retire_at BIGINT,
    PRIMARY KEY (key_id, version)
);

-- No reference to keys: a use may be written a moment after its key is gone.
CREATE TABLE key_uses (
    key_id {rowkey},
    last_time BIGINT NOT NULL,
    last_source TEXT NOT NULL,
    count BIGINT NOT NULL
);
