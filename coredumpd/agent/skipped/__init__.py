"""Crashes that left no dump: found, counted, reported."""
