"""The kubelet of this node: at which thresholds it evicts, and what captures leave free for it."""
