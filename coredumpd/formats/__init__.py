"""The contracts between roles: one module each, which renders what one says and parses it."""
