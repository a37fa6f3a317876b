-- Which history a node's place in the change feed belongs to: an event of the audit chain and its hash. The numbers
-- of the feed alone cannot tell after the database went back in time.
ALTER TABLE nodes ADD COLUMN mark_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN mark_hash {blob};
