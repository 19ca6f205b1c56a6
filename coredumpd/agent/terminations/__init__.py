"""Containers that ended by a signal or the OOM killer and left no core: why, by an Event."""
