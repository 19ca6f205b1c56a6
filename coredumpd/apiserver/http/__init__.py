"""The HTTP server: connections, TLS, the base of all handlers, probes, audit."""
