"""Run the commands of loop.py. Each is a function of the checkout's root and argparse's arguments -> exit code.

A command's module is imported when the command is called, so that `status` and `--help` do not wait for what training
needs.
"""

from __future__ import annotations

import pkgutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

Command = Callable[[Path, Namespace], int]

COMMANDS = {  # name on the command line -> module:function, below autoresearch.loop
    "run": "commands.night:run",
    "try": "commands.night:attempt",
    "validate": "commands.night:validate",
    "transfer": "commands.night:transfer",
    "status": "commands.reading:status",
    "watch": "commands.reading:watch",
    "pause": "commands.reading:pause",
    "resume": "commands.reading:resume",
    "show": "commands.reading:show",
    "report": "commands.results:report",
    "sample": "samples:sample_command",
    "adopt": "commands.results:adopt",
    "clean": "commands.results:clean",
    "export": "sharing:export_command",
    "compare": "sharing:compare_command",
    "doctor": "commands.setup:doctor",
    "calibrate": "commands.setup:calibrate",
    "models": "commands.setup:models",
    "install": "commands.setup:install",
    "uninstall": "commands.setup:uninstall",
}


def command(name: str) -> Command:
    """Import and return a command: command("status") -> autoresearch.loop.commands.reading.status"""
    found: Command = pkgutil.resolve_name(f"autoresearch.loop.{COMMANDS[name]}")
    return found
