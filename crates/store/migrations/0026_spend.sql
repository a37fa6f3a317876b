-- 26: what model calls cost, added up from the call logs of all nodes: by quarter of an hour and by who called what.
-- A series is who called what, with the newest beginning of its sums; a text that is not there is ''. A log's row tells how many rows of a segment of a call log
-- are in the sums, and moves in the transaction that adds them.
CREATE TABLE spend_series (
    series {text} NOT NULL PRIMARY KEY,
    node {text} NOT NULL,
    application {text} NOT NULL,
    key_id {text} NOT NULL,
    end_user {text} NOT NULL,
    model {text} NOT NULL,
    provider {text} NOT NULL,
    provider_model {text} NOT NULL,
    credential {text} NOT NULL,
    route {text} NOT NULL,
    newest BIGINT NOT NULL
);
CREATE INDEX spend_series_newest ON spend_series (newest);
CREATE TABLE spend (
    started BIGINT NOT NULL,
    series {text} NOT NULL,
    calls BIGINT NOT NULL,
    unknown_cost BIGINT NOT NULL,
    estimated_cost BIGINT NOT NULL,
    input BIGINT NOT NULL,
    cached_input BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    output BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    micros BIGINT NOT NULL,
    rest BIGINT NOT NULL,
    PRIMARY KEY (started, series)
);
CREATE TABLE spend_logs (
    segment {text} NOT NULL PRIMARY KEY,
    node {text} NOT NULL,
    read_to BIGINT NOT NULL,
    told BIGINT NOT NULL
)
