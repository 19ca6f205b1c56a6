"""What a person runs: the demo, and the command line against the API."""
