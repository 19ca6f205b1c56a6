"""Namespaces, pods and quotas, kept in step and written to policy.json."""
