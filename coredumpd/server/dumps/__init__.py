"""Stored dumps as the server reads them: cached, filtered by namespace, counted while open."""
