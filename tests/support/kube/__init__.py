"""Kubernetes' API server, as the tests need one."""
