"""A cgroup of all handlers together, with a CPU weight and a memory limit."""
