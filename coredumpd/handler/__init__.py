"""The handler: run by the kernel once per crash, reads /proc, streams stdin to the spool."""
