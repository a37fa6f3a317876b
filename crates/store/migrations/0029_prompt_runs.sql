-- 29: Runs of the tests of prompts. `digest` is of all that was tested; the newest run with it says whether that passed.
CREATE TABLE prompt_runs (
    prompt {text} NOT NULL,
    version BIGINT NOT NULL,
    run BIGINT NOT NULL,
    digest {text} NOT NULL,
    passed BIGINT NOT NULL,
    time BIGINT NOT NULL,
    actor {text} NOT NULL,
    body {text} NOT NULL,
    PRIMARY KEY (prompt, version, run)
)
