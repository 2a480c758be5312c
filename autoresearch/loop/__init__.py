"""The night: sessions, the main loop, experiments, validation, and the commands of loop.py."""
