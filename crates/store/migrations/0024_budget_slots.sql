-- 24: what budgets count whose windows roll, in slots of time by this database's clock; each counts until `ends`. What is
-- borrowed of such a budget stands in budget_windows, in a window from 0 on, which whoever changes its slots holds.
CREATE TABLE budget_slots (
    budget {text} NOT NULL,
    started BIGINT NOT NULL,
    ends BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    unlogged BIGINT NOT NULL,
    warned BIGINT NOT NULL,
    PRIMARY KEY (budget, started)
)
