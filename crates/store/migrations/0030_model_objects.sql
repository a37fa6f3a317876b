-- 30: files and batches that callers have at providers of models, by the ids that callers know. `kind` and `state` are the
-- numbers of the model's words; `due` is when a batch that is not settled is looked after next, by this database's clock.
-- What a batch may cost is borrowed in budget_nodes and budget_leases under its id.
CREATE TABLE model_objects (
    id {text} NOT NULL PRIMARY KEY,
    kind BIGINT NOT NULL,
    application {text} NOT NULL,
    made BIGINT NOT NULL,
    state BIGINT NOT NULL,
    upstream_id TEXT NOT NULL,
    body TEXT NOT NULL,
    facts TEXT NOT NULL,
    due BIGINT NOT NULL
);

CREATE INDEX model_objects_by_application ON model_objects (application, kind, made, id);

CREATE INDEX model_objects_due ON model_objects (due) WHERE state < 3
