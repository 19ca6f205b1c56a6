"""Kubernetes API machinery as pure functions: objects, options, patches, tables, errors."""
