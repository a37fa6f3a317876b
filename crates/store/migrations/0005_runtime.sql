-- What applications fetch at run time: entries, tokens, leases; and which of them changed lately.
-- {text} compares byte by byte on both databases, so that a prefix is a range.
ALTER TABLE head ADD COLUMN entry_seq BIGINT NOT NULL DEFAULT 0;

CREATE TABLE entry_changes (
    seq {rowkey},
    touched TEXT NOT NULL
);

CREATE TABLE entries (
    space {text} NOT NULL,
    path {text} NOT NULL,
    sealed {blob} NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (space, path)
);

CREATE TABLE tokens (
    id_hash {blob} NOT NULL PRIMARY KEY,
    accessor {text} NOT NULL UNIQUE,
    parent {text},
    path {text} NOT NULL,
    entity {text},
    expires_at BIGINT,
    sealed {blob} NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX tokens_by_parent ON tokens (parent);
CREATE INDEX tokens_by_path ON tokens (path);
CREATE INDEX tokens_by_entity ON tokens (entity);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

CREATE TABLE leases (
    id {text} NOT NULL PRIMARY KEY,
    mount {text} NOT NULL,
    token {text},
    entity {text},
    application {text},
    issued BIGINT NOT NULL,
    expires_at BIGINT,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt BIGINT,
    sealed {blob} NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX leases_by_mount ON leases (mount);
CREATE INDEX leases_by_token ON leases (token);
CREATE INDEX leases_by_entity ON leases (entity);
CREATE INDEX leases_by_application ON leases (application);
CREATE INDEX leases_by_next_attempt ON leases (next_attempt)
