"""A store in a directory tree."""
