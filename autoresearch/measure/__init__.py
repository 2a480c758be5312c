"""Measure one run of a candidate, in child processes."""
