-- 0021: what one holder has is read page by page, by id, however much it is.
DROP INDEX leases_by_entity;
CREATE INDEX leases_by_entity ON leases (entity, id);
DROP INDEX leases_by_application;
CREATE INDEX leases_by_application ON leases (application, id)
