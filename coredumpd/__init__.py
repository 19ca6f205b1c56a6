"""Core dumps of Kubernetes pods: captured by the kernel, owned by the tenant. Imports nothing."""

__version__ = "0.1.0"
