"""A Kubernetes aggregated API server that knows none of the kinds it serves."""
