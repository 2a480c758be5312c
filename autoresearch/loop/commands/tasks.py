"""Set up a task of one's own: the command `new-task`, and `doctor --task`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from autoresearch.loop.checkup import Check, checks_exit_code, line
from autoresearch.tasks.command import new_task as template


def new_task(root: Path, args: Namespace) -> int:
    """Write a folder that declares a task."""
    for text in template.write(args.folder, root):
        print(text)
    return 0


def doctor(folder: Path, *, no_sandbox: bool) -> int:
    """Check a declared task: its declaration, a run, and what an adversary could earn; exit with 1 for a problem."""
    from autoresearch.loop import task_doctor  # its runs need what `new-task` does not

    done: list[Check] = []
    for check in task_doctor.checks(folder, no_sandbox=no_sandbox):
        print(line(check), flush=True)
        done.append(check)
    return checks_exit_code(done)
