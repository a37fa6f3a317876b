-- 0023: the few rotations that were taken back are found without reading all that there ever were.
CREATE INDEX rotations_again ON rotations (credential, again) WHERE again IS NOT NULL
