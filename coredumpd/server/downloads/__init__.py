"""Archives, byte ranges and backtraces of dumps."""
