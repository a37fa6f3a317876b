-- 0010: the few leases whose revocation failed are counted and listed without reading the many others.
CREATE INDEX leases_failing ON leases (id) WHERE attempts > 0;
