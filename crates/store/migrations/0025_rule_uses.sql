-- 25: Which rules of their policies the tokens of a role, of a user or of a first token used at run time, and for what.
-- The holder '' is no holder: its rows tell since when this is kept, and when some of it was left out last.
CREATE TABLE rule_uses (
    holder {text} NOT NULL,
    rule {text} NOT NULL,
    used BIGINT NOT NULL,
    last_time BIGINT NOT NULL,
    PRIMARY KEY (holder, rule)
)
