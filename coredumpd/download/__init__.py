"""`coredumpd download`: a person fetches, verifies and opens dumps."""
