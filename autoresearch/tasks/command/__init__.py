"""The task that a folder declares by its task.toml: a command that is run, and a number that judges it."""
