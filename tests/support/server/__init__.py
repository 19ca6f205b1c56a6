"""`coredumpd server` as a process, and its clients."""
