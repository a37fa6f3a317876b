-- 12: leaks: secrets of ours that were found outside, one row for each, and what is left to a leaked key.
ALTER TABLE keys ADD COLUMN quarantine TEXT;

CREATE TABLE leaks (
    id {text} NOT NULL PRIMARY KEY,
    subject {text} NOT NULL UNIQUE,
    first_seen BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX leaks_by_time ON leaks (first_seen);
