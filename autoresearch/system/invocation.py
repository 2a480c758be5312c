"""Name the program: its version, and its commands in the words of the person who started it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

VERSION = "0.1.0"  # as in pyproject.toml
CHECKOUT = Path(__file__).resolve().parents[2]


_about: list[Path] = []  # the folder of the declared task that this process works on


def set_task(folder: Path | None) -> None:
    """Let the commands that messages show name the folder of a declared task; None for training."""
    _about[:] = [] if folder is None else [folder]


def command(line: str) -> str:
    """Return a command of this checkout as the person would type it: through uv, or with the Python that runs this.

    command("loop.py status") -> "uv run loop.py status", "python loop.py status" or ".venv/bin/python loop.py status"

    For a declared task it names the task's folder, and this checkout where the person is elsewhere.
    """
    names_task = "--task" in line or "new-task" in line
    if not line.startswith("loop.py") or not (_about or names_task):
        return f"{runner()} {line}"
    here = Path.cwd()
    checkout = "" if here == CHECKOUT else f"{shlex.quote(str(CHECKOUT))}/"
    uv = f" --project {shlex.quote(str(CHECKOUT))}" if checkout and runner() == "uv run" else ""
    folder = "" if names_task else f" --task {shlex.quote(os.path.relpath(_about[0], here))}"
    return f"{runner()}{uv} {checkout}{line}{folder}"


def program(line: str) -> str:
    """Return a command of a program that is installed beside this Python, as the person would type it.

    program("hf auth login") -> "uv run hf auth login", "hf auth login" or ".venv/bin/hf auth login"
    """
    if runner() == "uv run":
        return f"uv run {line}"
    name, _, rest = line.partition(" ")
    beside = Path(sys.executable).with_name(name)
    return line if not beside.exists() or shutil.which(name) == str(beside) else f"{shlex.quote(str(beside))} {rest}"


def runner(environ: Mapping[str, str] | None = None, python: str | None = None) -> str:
    """Return what stands before the name of a script; uv names itself in the environment of what it runs."""
    if "UV" in (os.environ if environ is None else environ):
        return "uv run"
    executable = Path(python or sys.executable)
    for name in ("python", executable.name):
        if shutil.which(name) == str(executable):
            return name
    here = Path.cwd()
    return str(executable.relative_to(here)) if executable.is_relative_to(here) else str(executable)


def versions() -> str:
    """Return the versions that a report of a problem needs: "autoresearch-metal 0.1.0 (Python 3.12.4, MLX 0.32.4)"."""
    import platform
    from importlib.metadata import PackageNotFoundError, version  # here: it takes longer to load than `--help` to print

    try:
        mlx = version("mlx")
    except PackageNotFoundError:
        mlx = "is not installed"
    return f"autoresearch-metal {VERSION} (Python {platform.python_version()}, MLX {mlx})"
