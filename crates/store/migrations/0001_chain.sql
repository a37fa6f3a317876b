-- The audit chain, its checkpoints, the change feed, and the one row every writer locks.
-- {blob} and {rowkey} are spelled per driver in driver.rs.
CREATE TABLE head (
    id {rowkey},
    audit_seq BIGINT NOT NULL,
    audit_hash {blob} NOT NULL,
    change_seq BIGINT NOT NULL
);

CREATE TABLE audit (
    seq {rowkey},
    time BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    actor_source TEXT,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous_hash {blob} NOT NULL,
    hash {blob} NOT NULL
);
CREATE INDEX audit_by_subject ON audit (subject, seq);
CREATE INDEX audit_by_action ON audit (action, seq);

CREATE TABLE audit_checkpoints (
    seq {rowkey},
    hash {blob} NOT NULL,
    signature {blob} NOT NULL
);

CREATE TABLE changes (
    seq {rowkey},
    kind TEXT NOT NULL,
    name TEXT NOT NULL
);
