"""`coredumpd demo`: crash, capture, download and gdb on one machine, without Kubernetes."""
