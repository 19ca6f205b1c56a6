"""Fuzzing, guided by coverage (atheris): `make fuzz [SECONDS=60]`."""
