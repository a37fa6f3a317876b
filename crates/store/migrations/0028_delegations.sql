-- 28: which key each delegated key comes from. A row outlives its key, so that reports can tell whose it was.
-- `anchor` is the nearest key above that was declared, which says what may be issued below it; `depth` counts from the root.
CREATE TABLE delegations (
    key_id {rowkey},
    name {text} NOT NULL,
    parent BIGINT NOT NULL,
    root BIGINT NOT NULL,
    anchor BIGINT NOT NULL,
    depth BIGINT NOT NULL,
    parent_version BIGINT NOT NULL,
    exchanged BIGINT NOT NULL,
    actor {text} NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT,
    ended BIGINT
);
CREATE INDEX delegations_by_parent ON delegations (parent, ended);
CREATE INDEX delegations_by_anchor ON delegations (anchor, ended)
