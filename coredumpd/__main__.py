"""`python -m coredumpd`: the same door as the executable."""

from coredumpd import cli

if __name__ == "__main__":
    raise SystemExit(cli.main())
