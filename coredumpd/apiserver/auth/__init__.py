"""Who a caller is, and whether the cluster's own rules let it."""
