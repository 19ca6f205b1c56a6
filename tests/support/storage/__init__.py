"""Real stores on this machine, and what goes wrong on the way to them."""
