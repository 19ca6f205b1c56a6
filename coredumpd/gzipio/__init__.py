"""gzip members (RFC 1952): made, read, and checked against a record."""
