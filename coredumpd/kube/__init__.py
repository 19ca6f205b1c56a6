"""What we ask of Kubernetes. The only package that knows the `kubernetes` client."""
