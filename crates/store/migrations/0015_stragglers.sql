-- 15: Who still carries the old version of a credential under rotation, told by each node for people.
ALTER TABLE node_traffic ADD COLUMN stragglers TEXT NOT NULL DEFAULT '[]'
