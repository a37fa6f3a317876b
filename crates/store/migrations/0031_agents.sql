-- 31: the keys that somebody uses, for who asks what an agent did.
CREATE INDEX delegations_by_actor ON delegations (actor, ended)
