"""API objects in etcd, through its JSON API."""
