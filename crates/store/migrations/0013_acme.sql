-- 13: what ordering certificates from an ACME server remembers: the account, the order under way, the certificate.
CREATE TABLE acme (
    name {text} NOT NULL PRIMARY KEY,
    sealed {blob},
    note {text} NOT NULL
);
