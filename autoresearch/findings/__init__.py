"""Share results between machines: export, comparison, hints and transfer."""
