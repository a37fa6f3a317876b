-- What people declare, the process's settings, and answers kept for a lost response.
CREATE TABLE resources (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value {blob} NOT NULL
);

CREATE TABLE idempotency (
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash {blob} NOT NULL,
    response {blob} NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created);
