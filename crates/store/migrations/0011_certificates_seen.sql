-- 11: certificates that upstreams present: one row for each endpoint, its newest certificate (DER).
CREATE TABLE certificates_seen (
    endpoint {text} NOT NULL PRIMARY KEY,
    certificate {blob} NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL
);
