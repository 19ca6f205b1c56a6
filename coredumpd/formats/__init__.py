"""What one role says to another: one module per contract, which renders it and parses it."""
