"""Dumps that agents send to this server."""
