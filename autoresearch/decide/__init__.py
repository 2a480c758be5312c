"""Decide by statistics: the keep rule, noise, estimates, early stop, disturbed runs, the final validation. No I/O."""
