"""Make, clean and measure a run's folder, the only place where a candidate may write.

A candidate may leave links, pipes, locked folders and folders nested by the thousand. These functions follow and open
none of them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from autoresearch.errors import CommandError
from autoresearch.system.process import run

CHECKPOINT = "checkpoint.safetensors"
LOGS = ("train.log", "judge.log", "evaluate.log", "probe.log")
LEFT = (CHECKPOINT, "fixed.safetensors", *LOGS)  # what stays of a run


def make(folder: Path, kernels: Path | None) -> None:
    """Empty the folder, and copy the compiled `kernels` into its tmp/."""
    tidy(folder, ())
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    if kernels and kernels.is_dir():
        shutil.copytree(kernels, folder / "tmp" / "mlx", dirs_exist_ok=True)


def keep_kernels(folder: Path, kernels: Path | None) -> None:
    """Copy what a child compiled in `folder` to `kernels`, with which later runs start."""
    if kernels and (folder / "tmp" / "mlx").is_dir():
        shutil.copytree(folder / "tmp" / "mlx", kernels, dirs_exist_ok=True)


def tidy(folder: Path, keep: Sequence[str]) -> None:
    """Remove everything but the regular files named in `keep`, and tmp/ where `keep` names it."""
    if not folder.is_dir():
        return
    if sys.platform == "darwin":
        _patiently(["chflags", "-R", "nouchg", folder])  # what is marked as immutable cannot be removed
    folder.chmod(0o755)
    for path in folder.iterdir():
        if path.is_symlink() or path.is_fifo() or not (path.is_dir() or path.name in keep):
            path.unlink()
        elif path.is_dir() and not (path.name == "tmp" and "tmp" in keep):
            # It may be nested too deeply for shutil.rmtree. For BSD's chmod, `--` behind the mode is a file.
            for command in (["chmod", "-R", "--", "u+rwx"], ["rm", "-rf", "--"]):
                _patiently([*command, path])


def _patiently(command: Sequence[str | Path]) -> None:
    """Run a command that may take minutes in a large folder; what it cannot do is left."""
    with contextlib.suppress(CommandError):
        run(command, timeout=300, check=False)


def written(folder: Path, files_limit: int) -> tuple[int, int]:
    """Return (bytes, files) below a folder that a child may be changing meanwhile; stop counting past the limit."""
    size, files, waiting = 0, 0, [str(folder)]
    while waiting and files <= files_limit:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in itertools.islice(entries, files_limit + 1):
                size, files = size + entry.stat(follow_symlinks=False).st_size, files + 1
                waiting += [entry.path] if entry.is_dir(follow_symlinks=False) else []
    return size, files
