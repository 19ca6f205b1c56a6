"""The node agent: installs the handler, owns core_pattern, ships the spool to the store."""
