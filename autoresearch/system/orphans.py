"""Find the processes of language models whose server was killed: they keep gigabytes, and no server knows of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from autoresearch.formats import GIB, printable

ADOPTERS = ("systemd", "launchd", "init")  # beside process 1, they become the parent of what lost its own
BLOB = "/blobs/sha256-"  # in the path of a model that Ollama downloaded


@dataclass(frozen=True, slots=True)
class Orphan:
    """Process of a model without a server."""

    pid: int
    memory: int  # resident bytes
    model: str  # the beginning of its file's name

    def describe(self) -> str:
        """Return a line for a person.

        Orphan(812, 3 * 2**30, "sha256-60e05f210007").describe() -> "process 812 keeps 3.0 GB for the model ..."
        """
        return f"process {self.pid} keeps {self.memory / GIB:.1f} GB for the model {self.model}, whose server has ended"

    @property
    def advice(self) -> str:
        return f"kill {self.pid}"


def find() -> list[Orphan]:
    """Return the orphans on this machine, the largest first."""
    return sorted(_orphans(), key=lambda orphan: -orphan.memory)


def model_of(argv: Sequence[str]) -> str | None:
    """Return which model a process of Ollama serves, or None for any other process.

    >>> model_of(["/usr/lib/ollama/llama-server", "--model", "/models/blobs/sha256-60e05f2100071479f596b964f89f"])
    'sha256-60e05f210007'
    """
    name = Path(argv[0]).name if argv else ""
    runner = name.startswith("llama-server") or (name == "ollama" and "runner" in argv[1:2])
    if not runner:
        return None
    given = next((value for option, value in itertools.pairwise(argv) if option == "--model"), "")
    if BLOB in given:
        return printable(Path(given).name[:19])
    return printable(given) if name == "ollama" and given else None


def _orphans() -> Iterator[Orphan]:
    for process in psutil.process_iter():
        try:
            model = model_of(process.cmdline())
            if model is not None and _adopted(process):
                yield Orphan(process.pid, int(process.memory_info().rss), model)
        except (psutil.Error, OSError):  # it has ended, or belongs to another user
            continue


def _adopted(process: psutil.Process) -> bool:
    """Return whether a process has lost the parent that started it."""
    parent = process.parent()
    return parent is None or parent.pid == 1 or parent.name() in ADOPTERS
