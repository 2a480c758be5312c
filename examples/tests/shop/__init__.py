"""A small shop, whose test suite is slow."""
