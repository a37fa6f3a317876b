-- 20: what budgets have spent, and who may spend how much of the rest without asking. Amounts are whole units of 10^-12
-- US dollars. A process that borrows is known by its place in its own call log: what stands before it is charged. `process`
-- is the number in the names of what it writes there; `state` is 0 while it borrows, 1 when it was given up, 2 when it was
-- settled; `seen` is when it took its last turn.
CREATE TABLE budget_windows (
    budget {text} NOT NULL,
    started BIGINT NOT NULL,
    ends BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    leased BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    unlogged BIGINT NOT NULL,
    warned BIGINT NOT NULL,
    PRIMARY KEY (budget, started)
);

CREATE TABLE budget_nodes (
    node {text} NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    process BIGINT NOT NULL,
    place TEXT NOT NULL,
    turn BIGINT NOT NULL,
    state BIGINT NOT NULL,
    seen BIGINT NOT NULL
);

CREATE TABLE budget_leases (
    budget {text} NOT NULL,
    started BIGINT NOT NULL,
    node {text} NOT NULL REFERENCES budget_nodes (node) ON DELETE CASCADE,
    amount BIGINT NOT NULL,
    PRIMARY KEY (budget, started, node)
)
