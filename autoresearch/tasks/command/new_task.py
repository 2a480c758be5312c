"""Write a folder that declares a task, for a person to make their own: a copy of examples/any."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from autoresearch.errors import UsageError
from autoresearch.files import is_clutter, write_atomic
from autoresearch.paths import TASK_FILE
from autoresearch.system.invocation import command
from autoresearch.tasks.command.tree import in_repository

TEMPLATE = "examples/any"
OURS = "README.md"  # of the template, about the example itself


def template(checkout: Path) -> dict[str, bytes]:
    """Return the files of the template by their path."""
    folder = checkout / TEMPLATE
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not is_clutter(path.name))
    named = {path.relative_to(folder).as_posix(): path for path in found}
    return {n: path.read_bytes() for n, path in named.items() if n != OURS and not n.startswith((".", "out/", "__py"))}


def write(folder: Path, checkout: Path) -> list[str]:
    """Write the template into a folder, and return lines that say what was written and what comes next.

    In a folder that holds files, only task.toml and the brief are written: the rest would be among the person's own.
    Raises UsageError where the folder declares a task already, or cannot be written.
    """
    if (folder / TASK_FILE).exists():
        check = command(f"loop.py doctor --task {shlex.quote(str(folder))}")
        raise UsageError(f"{folder / TASK_FILE} is there already. To check it: {check}")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file. Name a folder")
    files = template(checkout)
    own = folder.is_dir() and any(path.name != ".git" and not is_clutter(path.name) for path in folder.iterdir())
    chosen = [TASK_FILE, "program.md"] if own else list(files)
    left = [name for name in chosen if (folder / name).exists()]
    try:
        for name in chosen:
            if name not in left:
                write_atomic(folder / name, files[name])
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}. Name another folder") from None
    return list(_lines(folder, [name for name in chosen if name not in left], left, own))


def _lines(folder: Path, written: list[str], left: list[str], own: bool) -> Iterator[str]:
    yield f"wrote {', '.join(written)} in {folder}"
    if left:
        yield f"left as it is: {', '.join(left)}"
    if own:
        yield f"The commands in {TASK_FILE} are the template's: name the files and commands of yours in it"
    place = shlex.quote(str(folder))
    begin = "" if in_repository(folder) else f"git -C {place} init && "
    yield "Next:"
    yield f"    {command(f'loop.py doctor --task {place}')}   # checks it, and what a guard lets through"
    yield f"    {begin}git -C {place} add . && git -C {place} commit -m task"
    yield f"    {command(f'loop.py --task {place}')}"
