"""Find what the programs of a task need from the person's home folder, which the sandbox hides."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from autoresearch.tasks.command.command_words import PYTHON
from autoresearch.tasks.command.keys import Declaration, words

TOO_MUCH = ("", ".local", ".config", "Library", "Documents")  # folders of a home that hold more than a program


def needed(declared: Declaration, links: Iterable[Path], home: Path | None = None) -> list[Path]:
    """Return the folders to show: of each program that lies in the home folder, and of each linked environment."""
    home = (home or Path.home()).resolve()
    found: list[Path] = []
    for command in declared.commands.values():
        first = words(command)[0]
        program = shutil.which(first) if first not in PYTHON and "/" not in first else None
        if program is not None:
            found += _of_program(Path(program), home)
    for folder in links:
        found += _of_environment(folder, home)
    return list(dict.fromkeys(found))


def _of_program(program: Path, home: Path) -> Iterator[Path]:
    """Yield a program, and where it was installed: ~/.nvm/versions/node/v22 for ~/.nvm/versions/node/v22/bin/node."""
    real = Path(os.path.realpath(program))
    for path in (program, real):
        if path.is_relative_to(home):
            yield path
    prefix = real.parent.parent if real.parent.name == "bin" else real.parent
    if prefix.is_relative_to(home) and prefix not in [home / name for name in TOO_MUCH]:
        yield prefix


def _of_environment(folder: Path, home: Path) -> Iterator[Path]:
    """Yield where the Python of a virtual environment was installed."""
    settings = folder / "pyvenv.cfg"
    if not settings.is_file():
        return
    for line in settings.read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "home" and value.strip():
            yield from _of_program(Path(value.strip()) / "python3", home)
            yield from _of_program(Path(value.strip()) / "python", home)
