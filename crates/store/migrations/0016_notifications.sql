-- 16: What is to be told to the owners of credentials, until it has arrived.
CREATE TABLE notifications (
    id TEXT NOT NULL PRIMARY KEY,
    same TEXT UNIQUE,
    created BIGINT NOT NULL,
    owner TEXT NOT NULL,
    body TEXT NOT NULL,
    channel TEXT,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt BIGINT NOT NULL,
    error TEXT
);
CREATE INDEX notifications_waiting ON notifications (next_attempt, id) WHERE state = 'waiting';
CREATE INDEX notifications_by_age ON notifications (created)
