"""Does the kernel run our handler? The guard crashes a process of its own, and tells."""
