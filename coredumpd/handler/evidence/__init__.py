"""Facts about the crashed process: /proc, its cgroup, the container runtime's state."""
