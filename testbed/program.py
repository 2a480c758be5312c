"""Run the program's commands as a person or an outside agent does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TASK = ("--dataset", "toy", "--profile", "tiny", "--time-budget", "1")


def loop(root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "loop.py", *args], cwd=root, capture_output=True, text=True, timeout=300)
