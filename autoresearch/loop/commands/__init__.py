"""Run the commands of loop.py. Each is a function of the checkout's root and argparse's arguments -> exit code.

A command's module is imported when the command is called, so that `status` and `--help` do not wait for what training
needs.
"""

from __future__ import annotations

import pkgutil
import shlex
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from autoresearch.errors import UsageError
from autoresearch.paths import STATE, TASK_FILE
from autoresearch.system import invocation

CommandFunction = Callable[[Path, Namespace], int]

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
    "serve": "commands.reading:serve",
    "report": "commands.results:report",
    "sample": "samples:sample_command",
    "adopt": "commands.results:adopt",
    "clean": "commands.results:clean",
    "export": "sharing:export_command",
    "compare": "sharing:compare_command",
    "share": "sharing:share_command",
    "findings": "sharing:findings_command",
    "new-task": "commands.tasks:new_task",
    "join": "commands.fleet:join",
    "machines": "commands.fleet:machines",
    "doctor": "commands.setup:doctor",
    "calibrate": "commands.setup:calibrate",
    "models": "commands.setup:models",
    "install": "commands.setup:install",
    "uninstall": "commands.setup:uninstall",
}

OPTIONS_OF_TRAINING = ("dataset", "profile", "time_budget")
OF_TRAINING = ("sample", "transfer", "calibrate", "install")  # that no declared task has


def root_of(checkout: Path, args: Namespace) -> Path:
    """Return where the nights that a command is about lie: in the checkout, or in the folder of a declared task.

    Raises UsageError for a command that is for training alone, and for a folder that is not there.
    """
    folder: Path | None = getattr(args, "task", None)
    if folder is None:
        return checkout
    if args.what in OF_TRAINING:
        raise UsageError(f"`{args.what}` is for training a model, and {folder} declares another task")
    if given := [name for name in OPTIONS_OF_TRAINING if getattr(args, name, None) is not None]:
        option = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{option} is for training a model; what a run of {folder} does stands in its {TASK_FILE}")
    if folder.is_file():
        raise UsageError(f"{folder} is a file. Name the folder of the task: --task {shlex.quote(str(folder.parent))}")
    if not (folder / TASK_FILE).is_file():
        how = invocation.command(f"loop.py new-task {shlex.quote(str(folder))}")
        raise UsageError(f"{folder} has no {TASK_FILE}. To write one: {how}")
    invocation.set_task(folder.resolve())
    return folder.resolve() / STATE


def command(name: str) -> CommandFunction:
    """Import and return a command: command("status") -> autoresearch.loop.commands.reading.status"""
    found: CommandFunction = pkgutil.resolve_name(f"autoresearch.loop.{COMMANDS[name]}")
    return found
