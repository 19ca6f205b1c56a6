"""Where dumps live for good: a directory tree or a bucket, read and written by DumpKey."""
