"""Results that travel between machines: export, comparison, hints, transfer."""
