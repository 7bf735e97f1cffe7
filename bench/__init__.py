"""Measurements: each is a ratio to a named peer in the same run."""
