"""Name the program: its version, and its commands in the words of the person who started it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

VERSION = "0.1.0"  # as in pyproject.toml


def command(line: str) -> str:
    """Return a command of this checkout as the person would type it: through uv, or with the Python that runs this.

    command("loop.py status") -> "uv run loop.py status", "python loop.py status" or ".venv/bin/python loop.py status"
    """
    return f"{runner()} {line}"


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
