"""Captures for which the kernel connects to a socket (Linux 6.17)."""
