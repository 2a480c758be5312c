"""Run Python code in a child that a sandbox confines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from autoresearch.system.sandbox import environment


def python(prefix: Sequence[str], run_dir: Path, code: str, *args: object, **options: object) -> str:
    """Run `python -c code args` behind the prefix, and return what it prints."""
    argv = [*prefix, sys.executable, "-P", "-c", code, *map(str, args)]
    options = {"env": environment(run_dir), "cwd": run_dir, "timeout": 60, **options}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, **options)  # type: ignore[call-overload]
    return str(done.stdout).strip()
