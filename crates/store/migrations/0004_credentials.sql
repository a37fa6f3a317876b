-- Credentials we hold: sealed bytes, their versions, their uses, their rotations.
CREATE TABLE credential_versions (
    credential TEXT NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    sealed {blob},
    algorithm TEXT NOT NULL,
    keyring_id BIGINT NOT NULL,
    fingerprint {blob} NOT NULL,
    created BIGINT NOT NULL,
    promoted BIGINT,
    retired BIGINT,
    PRIMARY KEY (credential, version)
);
CREATE UNIQUE INDEX credential_versions_one_current ON credential_versions (credential) WHERE state = 'current';

CREATE TABLE credential_uses (
    credential TEXT NOT NULL,
    version BIGINT NOT NULL,
    last_time BIGINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (credential, version)
);

CREATE TABLE rotations (
    id TEXT NOT NULL PRIMARY KEY,
    credential TEXT NOT NULL,
    from_version BIGINT,
    to_version BIGINT,
    step TEXT NOT NULL,
    finished BIGINT NOT NULL,
    started BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    deadline BIGINT,
    detail TEXT NOT NULL,
    error TEXT
);
CREATE UNIQUE INDEX rotations_one_unfinished ON rotations (credential) WHERE finished = 0;
CREATE INDEX rotations_by_credential ON rotations (credential, started);
