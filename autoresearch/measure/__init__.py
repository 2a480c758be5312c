"""One run of a candidate, in child processes."""
