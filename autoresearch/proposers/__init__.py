"""Sources of ideas: the built-in tuner, a local model, an outside command."""
