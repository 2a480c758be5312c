"""Use the operating system: subprocesses, the sandbox, locks, addresses, exit codes, the machine, login."""
