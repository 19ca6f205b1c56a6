"""HTTP as a Kubernetes API server speaks it: TLS, callers, Status errors, tables."""
