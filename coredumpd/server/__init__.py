"""The aggregated API server: objects and downloads for tenants."""
