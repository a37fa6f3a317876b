-- What the processes on one database tell of themselves: who is there, what each enforces, what of a
-- credential under rotation still runs there, and which of them does what only one may do.
-- Times are the database's own clock, so that the clocks of machines need not agree.
CREATE TABLE nodes (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    started BIGINT NOT NULL,
    heartbeat BIGINT NOT NULL,
    enforced BIGINT NOT NULL,
    workers BIGINT NOT NULL,
    serves BIGINT NOT NULL,
    leaving BIGINT NOT NULL
);

CREATE TABLE node_traffic (
    node TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    rotation TEXT NOT NULL,
    version BIGINT NOT NULL,
    in_force BIGINT NOT NULL,
    in_flight BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    served BIGINT NOT NULL,
    PRIMARY KEY (node, rotation)
);

CREATE TABLE node_leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    ends BIGINT NOT NULL
);
