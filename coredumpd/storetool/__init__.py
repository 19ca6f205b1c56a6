"""`coredumpd store`: look after a store by hand. The role of an administrator, not of a daemon."""
