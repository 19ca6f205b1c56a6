"""A node: its kernel, filesystems and containers, the handler and the agent."""
