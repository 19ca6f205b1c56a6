"""Where dumps live for good: a directory tree, read and written by DumpKey."""
