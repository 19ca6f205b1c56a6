"""The configuration file: its values, its sections, and how it is read."""
