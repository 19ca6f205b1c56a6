"""Programs that build what is shipped: the container image."""
