"""The requests to Kubernetes. The only package that knows the `kubernetes` client."""
