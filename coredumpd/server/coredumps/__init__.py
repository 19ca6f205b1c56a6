"""Coredump: stored dumps as read-only API objects."""
