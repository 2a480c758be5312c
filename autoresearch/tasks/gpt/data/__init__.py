"""Data sets: downloading, tokenizing, packing, and the profiles of a task."""
