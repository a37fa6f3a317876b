-- 8: how reading from and writing to stores that are not ours goes: one row for each place of a credential.
CREATE TABLE store_links (
    credential {text} NOT NULL,
    direction {text} NOT NULL,
    place {text} NOT NULL,
    version BIGINT,
    remote TEXT,
    attempts BIGINT NOT NULL,
    next_attempt BIGINT,
    succeeded BIGINT,
    error TEXT,
    PRIMARY KEY (credential, direction, place)
);
