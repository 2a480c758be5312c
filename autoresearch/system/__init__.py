"""Use the operating system: subprocesses, the sandbox, locks, the state of the machine, sleep, login."""
