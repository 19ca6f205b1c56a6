"""The verbs of a resource, its watch, and the documents that describe it."""
